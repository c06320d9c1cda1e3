// Package e2e tests Sluice as users run it: compiled programs, real servers, real mail clients. Package fleet runs the
// processes.
package e2e
