// Command sluicectl inspects and operates a running Sluice: it shows what came in, where each mail is and whether any is
// missing, and handles mail that could not be stored.
package main

import (
	"github.com/sluice-mail/sluice/services/internal/process"
)

func main() {
	var c ctl
	process.Main(process.Spec{
		Name:    "sluicectl",
		Summary: "inspects and operates a running Sluice",
		Config:  []any{&c.cfg},
		// The answer is read on the same screen, so only problems are logged.
		Defaults: map[string]string{"LOG_LEVEL": "warn"},
		Commands: []process.Command{
			{Name: "status", Summary: "streams, consumers, lag, dead letters, rates", Run: c.status},
			{Name: "ls", Summary: "lists a mailbox: ls ADDRESS", Run: c.ls},
			{Name: "cat", Summary: "prints a mail as it would be delivered: cat ID", Run: c.cat},
			{Name: "rm", Summary: "deletes from a mailbox: rm ADDRESS [ID]", Run: c.rm},
			{Name: "trace", Summary: "shows where a mail is and how it got there: trace ID", Run: c.trace},
			{Name: "audit", Summary: "compares log and database: is every accepted mail accounted for? audit accept ID|--gap RANGE --why TEXT", Run: c.audit},
			{Name: "dead", Summary: "dead letters: dead ls | show ID | retry ID|--all | drop ID", Run: c.deadLetters},
			{Name: "domains", Summary: "accepted domains in addition to INGRESS_DOMAINS: domains ls | add DOMAIN… | rm DOMAIN…", Run: c.domains},
			{Name: "recipients", Summary: "recipients for INGRESS_RECIPIENTS=kv: recipients ls | add ADDRESS… | rm ADDRESS…", Run: c.recipients},
			{Name: "deny", Summary: "whom the ingresses refuse: deny ls | add ENTRY… | rm ENTRY…; see deny -help", Run: c.deny},
			{Name: "allow", Summary: "exceptions from deny: allow ls | add ENTRY… | rm ENTRY…", Run: c.allow},
			{Name: "token", Summary: "creates a token for reading mailboxes over HTTP; see token -help", Run: c.token},
			{Name: "streams", Summary: "the log's streams: streams info | ensure", Run: c.streams},
			{Name: "load", Summary: "sends generated mail and records every answer; see load -help", Run: c.load},
		},
	})
}
