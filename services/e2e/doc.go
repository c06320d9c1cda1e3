// Package e2e tests Sluice as its users run it: built programs, real servers, real mail clients. See fleet for how the
// processes are run.
package e2e
