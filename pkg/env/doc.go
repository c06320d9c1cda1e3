// Package env fills configuration structs from environment variables, on top of kelseyhightower/envconfig.
//
//	type Config struct {
//		Addr  env.Addr      `envconfig:"INGRESS_ADDR" default:":2525" desc:"plain SMTP"`
//		Max   env.Bytes     `envconfig:"INGRESS_MAX_MESSAGE_BYTES" default:"25MiB" min:"1KiB" desc:"largest mail"`
//		Names env.List      `envconfig:"INGRESS_DOMAINS" required:"true" desc:"accepted domains"`
//		Mode  string        `envconfig:"INGRESS_BARE_LF" default:"accept" oneof:"accept reject" desc:"bare line feeds"`
//		Key   string        `envconfig:"SOME_KEY" secret:"true" desc:"never shown"`
//		Log   stream.Config // structs nest; names are always given in full
//	}
//
// What it adds: all problems are reported at once, each with the variable's name, its value and what is allowed; any X
// may be given as X_FILE; misspelt variables are found (unknown.go); the -help table and the log line with the effective
// configuration come from the same tags. An empty variable counts as not set: compose files pass ${X:-} on like that.
// A struct with a method Validate() error is asked once all variables are right; it speaks for the structs in it, too.
package env
