// Package process is the main function that all Sluice programs share, so that their own main functions are short and all behave
// the same: NAME [run] | healthcheck | -help | -version, and the commands that a service adds.
//
// Exit codes: 0 done or stopped by a signal; 1 failed, with "NAME: what" on standard error; 2 wrong command line.
//
// A service logs to standard output. A command prints its result to standard output and logs to standard error.
package process
