// Package inbucketclient proves that Inbucket's own client, unmodified, works with the mailbox service: every method it
// has, on a running service with a real database.
package inbucketclient
