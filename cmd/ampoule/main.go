// Ampoule issues, verifies and stands behind health certificates: one binary for
// every party. Each subcommand has a file of its own; this package is the only
// place where parties are wired to files, clocks and networks.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// Exit codes. They are a contract with scripts.
const (
	exitOK        = 0
	exitNotValid  = 1  // something is not valid
	exitUndecided = 2  // something could not be decided, and nothing was invalid
	exitUsage     = 80 // the command or its configuration is wrong
)

type commands struct {
	Demo     demoCmd        `cmd:"" help:"Run everything on fresh demonstration keys, with a page to try it."`
	Country  demoCountryCmd `cmd:"" name:"demo-country" hidden:"" help:"Be another country of a demonstration, for as long as the input is open."`
	Verify   verifyCmd      `cmd:"" help:"Say whether certificates are authentic and in force, and why."`
	Replay   replayCmd      `cmd:"" help:"Run a verdict again from its transcript, and say whether it is the same."`
	Inspect  inspectCmd     `cmd:"" help:"Show every layer of a code. Nothing is verified."`
	Issue    issueCmd       `cmd:"" help:"Sign a certificate."`
	Revoke   revokeCmd      `cmd:"" help:"Take many records of a running service out of force: by key, lot, time or list."`
	Print    printCmd       `cmd:"" help:"Print valid certificates on paper, as PDF."`
	Convert  convertCmd     `cmd:"" help:"Bring the content of a certificate into another format, and say what is lost."`
	Concepts conceptsCmd    `cmd:"" help:"List concept maps, and translate codes by them."`
	Keys     keysCmd        `cmd:"" help:"Make and show signing keys."`
	Trust    trustCmd       `cmd:"" help:"Explain what is trusted, and what is not."`
	Member   participantCmd `cmd:"" name:"participant" help:"Take part in a trust network: onboarding, uploads, lists."`
	Status   statusCmd      `cmd:"" help:"Make, publish and show lists of what is revoked or superseded."`
	Rules    rulesCmd       `cmd:"" help:"List, check and try rules in CertLogic."`
	Lot      lotCmd         `cmd:"" help:"Sign and list statements about lots."`
	Stock    stockCmd       `cmd:"" help:"Bring what other systems keep of stock into a running service."`
	Trace    traceCmd       `cmd:"" help:"Show the proof behind a dose, from the factory to the arm, and check it."`
	Reassess reassessCmd    `cmd:"" help:"Say which past doses move when what products bear changes, and prove it."`
	Bundle   bundleCmd      `cmd:"" help:"Make, show and keep what offline verifiers carry."`
	Node     nodeCmd        `cmd:"" help:"Make and look after a node of the ledger, and take part in its federation; 'serve' runs it."`
	Log      logCmd         `cmd:"" help:"Read, prove, verify, watch and cosign the log of a ledger."`
	Resolve  resolveCmd     `cmd:"" help:"Say what the ledger has under an identifier, and prove it."`
	Gateway  gatewayCmd     `cmd:"" help:"Run the gateway of a trust network: who is taken in, by whom."`
	Device   deviceCmd      `cmd:"" help:"Be a logger or a fleet of them; enrol devices, bring their files, check their evidence."`
	Serve    serveCmd       `cmd:"" help:"Serve the verifier: pages, API, bundle and metrics."`
	Cfg      configCmd      `cmd:"" name:"config" help:"Show the configuration of a server."`
	Migrate  migrateCmd     `cmd:"" help:"Bring the schema of a store up to date."`
	Backup   backupCmd      `cmd:"" help:"Back up a store, and check backups."`
	Restore  restoreCmd     `cmd:"" help:"Make a store from its backups."`
	Audit    auditCmd       `cmd:"" help:"Check the audit log of a store, and export it."`
	Doctor   doctorCmd      `cmd:"" help:"Look for what is wrong with a server, and say what to do."`
	Version  versionCmd     `cmd:"" help:"Show the version."`
}

// terminal is what a command reads from and writes to.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// exitError carries an exit code besides the message. An empty message exits
// quietly: the output has said it all.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// usageError marks a mistake in the command or its files.
func usageError(format string, args ...any) error {
	return exitError{exitUsage, fmt.Errorf(format, args...)}
}

func main() { os.Exit(run(os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr})) }

func run(args []string, t terminal) (code int) {
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("ampoule"),
		kong.Description("Health certificates and what stands behind them."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(t.out, t.err),
		kong.Vars{"icvpProducts": icvpProducts},
		kong.Exit(func(code int) { exited = code; panic(errExit) }),
	)
	if err != nil {
		panic(err) // the declarations above are wrong
	}
	// --help exits from within the parser.
	defer func() {
		if r := recover(); r == errExit {
			code = exited
		} else if r != nil {
			panic(r)
		}
	}()
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(t.err, "ampoule: %v\nTry 'ampoule --help'.\n", err)
		return exitUsage
	}
	err = ctx.Run(t)
	var exit exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintf(t.err, "ampoule: %v\n", exit.err)
		}
		return exit.code
	}
	fmt.Fprintf(t.err, "ampoule: %v\n", err)
	return exitUndecided
}

var errExit = errors.New("exit")
