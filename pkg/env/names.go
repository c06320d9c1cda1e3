package env

// Names lists every variable of every Sluice binary, so that each of them can tell a variable of a sister service from
// a misspelt one without importing it. A test in services holds this list against the tags in the code.
func Names() []string {
	return []string{
		"NATS_URL", "NATS_CREDS", "NATS_MONITOR_URL",
		"STREAM_SHARDS", "STREAM_REPLICAS", "STREAM_MAX_BYTES", "STREAM_KEEP", "STREAM_ALLOW_UNSYNCED",
		"MYSQL_DSN",
		"STORER_BATCH_ROWS", "STORER_BATCH_BYTES", "STORER_CONNS", "STORER_CODEC", "STORER_RETENTION",
		"MEMCACHED_ADDRS", "CACHE_TTL",
		"INGRESS_ADDR", "INGRESS_TLS_ADDR", "INGRESS_TLS_CERT", "INGRESS_TLS_KEY", "INGRESS_HOSTNAME",
		"INGRESS_DOMAINS", "INGRESS_PRIMARY_DOMAIN", "INGRESS_RECIPIENTS",
		"INGRESS_MAX_MESSAGE_BYTES", "INGRESS_MAX_RCPTS", "INGRESS_MAX_MAILS",
		"INGRESS_MAX_CONNS", "INGRESS_MAX_CONNS_PER_IP", "INGRESS_MAX_CONNS_PER_NET", "INGRESS_CONN_RATE", "INGRESS_LIMIT_EXEMPT",
		"INGRESS_DATA_TIMEOUT", "INGRESS_MEMORY_BUDGET", "INGRESS_SPOOL_DIR", "INGRESS_SPOOL_MAX",
		"INGRESS_PROXY_PROTOCOL", "INGRESS_TRUSTED_PROXIES", "INGRESS_XCLIENT_FROM", "INGRESS_BARE_LF",
		"INGRESS_DRAIN_DELAY",
		"MAILBOX_ADDR",
		"ADMIN_ADDR", "DEBUG_ADDR", "LOG_FORMAT", "LOG_LEVEL", "LOG_PII",
		"SLUICE_DATA",
	}
}

// prefixes are the name spaces that are ours: a variable in them that nobody knows is suspicious.
func prefixes() []string {
	return []string{"INGRESS_", "STREAM_", "STORER_", "CACHE_", "MAILBOX_", "SLUICE_"}
}
