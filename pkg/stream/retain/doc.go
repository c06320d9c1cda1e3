// Package retain keeps the log within its size: the janitor purges stored mail, and only stored mail, when it is old or the log
// is nearly full. Every storer runs a janitor; a lease ensures that only one of them works at a time.
package retain
