// Package process is the main function that all Sluice binaries share, so that their own stays short and they behave
// alike: NAME [run] | healthcheck | -help | -version, and whatever commands a service adds.
//
// Exit codes: 0 done or stopped by a signal; 1 failed, with "NAME: what" on standard error; 2 wrong command line.
//
// A service logs to standard output; a command answers there and logs to standard error.
package process
