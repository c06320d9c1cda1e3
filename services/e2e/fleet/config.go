package fleet

import (
	"net"
	"strings"
)

// rewrite replaces the ports of the committed server configuration and leaves out the include of the accounts: what is
// tested here is the sync setting that users run with. The accounts have a test of their own.
func rewrite(conf, client, monitor string) string {
	var out []string
	for line := range strings.SplitSeq(ports(conf, client, monitor), "\n") {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word != "include" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// ports replaces the ports of the committed server configuration.
func ports(conf, client, monitor string) string {
	_, clientPort, _ := net.SplitHostPort(client)
	_, monitorPort, _ := net.SplitHostPort(monitor)
	var out []string
	for line := range strings.SplitSeq(conf, "\n") {
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "port:":
			line = "port: " + clientPort
		case "http_port:":
			line = "http_port: " + monitorPort
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
