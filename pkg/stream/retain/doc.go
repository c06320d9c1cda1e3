// Package retain keeps the log to its room: the janitor purges stored mail, and nothing else, as age and room ask for it.
// Every storer runs one; a lease keeps the work to one of them.
package retain
