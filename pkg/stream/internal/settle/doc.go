// Package settle decides what becomes of the messages in a worker's hands: which of their mails are handed to the handler
// next and how, which are buried and why, when a message is acknowledged or given back. It is a state machine: no clock,
// goroutine or connection is in it, so every order of events can be tested. Package consume does what it says.
//
//	Take ─▶ shelf ─cut─▶ task ─call─▶ Answered ─┬─ done, dead and buried ─▶ with the last mail its message is acknowledged
//	 │                    ▲                     ├─ retry: rests while nothing is fetched ─Tick─▶ call
//	 │                    └─────────────────────┴─ a panic: one by one, then plain, then buried
//	 └─ delivered three times ─▶ suspects ─▶ trial: a task whose calls are made under a mark, one at a time (trial.go)
//
// Handling a mail twice changes nothing, so whatever is unclear is handled again.
package settle
