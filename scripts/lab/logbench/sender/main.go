// Command sender is the part of logbench that publishes: a process of its own, so that several revisions of the
// publisher can be measured in one run, and several processes on one log. logbench drives it over its standard input
// and output: it prints "ready" when mail flows, counts from the line "count" until the line "stop", and then
// prints its Report.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// Protocol is raised when what logbench says to a sender, or hears from it, changes: then an older one is not understood.
const Protocol = 1

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	protocol := flag.Bool("protocol", false, "print which version of the protocol this speaks")
	url := flag.String("url", "", "the log")
	name := flag.String("way", "packs", "how to publish")
	senders := flag.Int("senders", 64, "mails that wait for the log at once")
	size := flag.Int("size", 20480, "bytes per mail")
	unsynced := flag.Bool("unsynced", false, "the log does not sync before it acknowledges")
	flag.Parse()
	if *protocol {
		fmt.Println("sender protocol", Protocol)
		return nil
	}
	publish, known := ways()[*name]
	if !known {
		return fmt.Errorf("-way: no %q", *name)
	}
	nc, err := connect(*url)
	if err != nil {
		return err
	}
	defer nc.Close()
	return obey(newLoad(nc, *senders, *size, *unsynced), publish)
}

// obey runs the load as the lines of standard input say. Their end is the end of the load, whatever the reason.
func obey(l *load, publish way) error {
	ended := make(chan error, 1)
	go func() { ended <- publish(context.Background(), l) }()
	select {
	case <-l.ready:
	case err := <-ended:
		return early(err)
	case <-time.After(30 * time.Second):
		return errors.New("the publisher did not become ready within 30 s")
	}
	fmt.Println("ready")
	for command := range lines() {
		switch command {
		case "count":
			l.count()
		case "stop":
			l.count()
			close(l.stop)
			if err := <-ended; err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(l.report())
		}
		select {
		case err := <-ended:
			return early(err)
		default:
		}
	}
	return errors.New("standard input ended before the line stop")
}

func early(err error) error {
	if err == nil {
		err = errors.New("no reason given")
	}
	return fmt.Errorf("the load ended before it was told to: %w", err)
}

func lines() <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			c <- in.Text()
		}
	}()
	return c
}
