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
// What it adds to envconfig:
//   - All problems are reported at once, each with the variable's name, its value and what is allowed.
//   - Any variable X may be given as a file, by X_FILE.
//   - Misspelt variables are found (unknown.go).
//   - The -help table and the log line with the effective configuration come from the same tags.
//   - An empty variable counts as not set, because compose files pass an unset ${X:-} on as an empty one.
//   - If a struct has a method Validate() error, it is called once all variables are valid; it also checks the structs inside.
package env
