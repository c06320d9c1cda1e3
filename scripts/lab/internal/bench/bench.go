// Package bench has what the measuring programs share: flags that are lists, medians with their spread, and tables.
package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Usage makes -help print what the program does before its flags.
func Usage(fs *flag.FlagSet, text string) {
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "%s\n\nFlags:\n", strings.TrimSpace(text))
		fs.PrintDefaults()
	}
}

// Progress tells on standard error what is being done, so that standard output has the tables only.
func Progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "  … "+format+"\n", args...) }

// Path is a path as it was typed: scripts/bench changes the directory and says in BENCH_FROM where it was called.
func Path(typed string) string {
	if typed == "" || filepath.IsAbs(typed) {
		return typed
	}
	return filepath.Join(os.Getenv("BENCH_FROM"), typed)
}

// Ints is a flag: whole numbers from 1, separated by commas.
type Ints []int

// String is the list as it was given.
func (l *Ints) String() string {
	var texts []string
	for _, n := range *l {
		texts = append(texts, strconv.Itoa(n))
	}
	return strings.Join(texts, ",")
}

// Set reads the list.
func (l *Ints) Set(text string) error {
	*l = nil
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no whole number from 1", field)
		}
		*l = append(*l, n)
	}
	return nil
}

// Words is a flag: some of the known words, separated by commas.
type Words struct {
	Known []string
	List  []string
}

// String is the list as it was given.
func (w *Words) String() string { return strings.Join(w.List, ",") }

// Set reads the list.
func (w *Words) Set(text string) error {
	w.List = nil
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); !slices.Contains(w.Known, word) {
			return fmt.Errorf("%q is none of %s", word, strings.Join(w.Known, ", "))
		}
		w.List = append(w.List, word)
	}
	return nil
}

// Positive is a flag: one whole number from 1.
func Positive(fs *flag.FlagSet, to *int, name string, preset int, usage string) {
	*to = preset
	fs.Func(name, fmt.Sprintf("%s (default %d)", usage, preset), func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no whole number from 1", text)
		}
		*to = n
		return nil
	})
}
