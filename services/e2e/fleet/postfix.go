package fleet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// NewSink makes Postfix's smtp-sink, which takes mail and keeps nothing: the reference of the benchmarks.
func NewSink(dir string) (*Process, error) {
	path := LookPath("smtp-sink")
	if path == "" {
		return nil, fmt.Errorf("needs smtp-sink (apt-get install postfix)")
	}
	addr := FreeAddr()
	args := []string{"-c", addr, "1024"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...) // it refuses to run as root
	}
	return &Process{Name: "smtp-sink", path: path, args: args, log: filepath.Join(dir, "smtp-sink.log"),
		Addrs: map[string]string{"smtp": addr}}, nil
}

// LookPath also looks where Debian puts servers, which is not on every user's PATH. It is empty when there is none.
func LookPath(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	path, _ := exec.LookPath(filepath.Join("/usr/sbin", program))
	return path
}

// MariaDBPID is the process of the fleet's database server.
func (f *Fleet) MariaDBPID() int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		// pid (comm) state ppid …: ours is a child of this process.
		if fields := strings.Fields(string(stat)); len(fields) > 3 && fields[1] == "(mariadbd)" && fields[3] == strconv.Itoa(os.Getpid()) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	return 0
}
