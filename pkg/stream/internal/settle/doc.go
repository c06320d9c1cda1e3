// Package settle decides what happens to the messages that a worker has fetched: which mails are passed to the handler next and
// how, which become dead letters and why, when a message is acknowledged or returned to the log. It is a state machine without
// a clock, goroutine or connection, so every order of events can be tested. Package consume carries out its decisions.
//
//	Take ─▶ shelf ─cut─▶ task ─call─▶ Answered ─┬─ done, dead and buried ─▶ with the last mail its message is acknowledged
//	 │                    ▲                     ├─ retry: rests while nothing is fetched ─Tick─▶ call
//	 │                    └─────────────────────┴─ a panic: one by one, then plain, then buried
//	 └─ delivered three times ─▶ suspects ─▶ trial: a task whose calls are made under a mark, one at a time (trial.go)
//
// Handling a mail twice changes nothing, so a mail whose outcome is unknown is handled again.
package settle
