package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/party/verifier"
)

type rulesCmd struct {
	List  rulesListCmd  `cmd:"" help:"List rules with what they apply to."`
	Check rulesCheckCmd `cmd:"" help:"Hold rules against what the EU gateway asks of them."`
	Try   rulesTryCmd   `cmd:"" help:"Hold certificates against rules, and show what each rule answers."`
}

type rulesListCmd struct {
	JSON  bool     `name:"json" help:"One JSON object a line."`
	Files []string `arg:"" name:"file" help:"File of one rule, or of an array of them."`
}

// listedRule is one line of the list.
type listedRule struct {
	Identifier  string `json:"identifier"`
	Version     string `json:"version"`
	Type        string `json:"type"`
	Country     string `json:"country"`
	Region      string `json:"region,omitempty"`
	Certificate string `json:"certificate"`
	From        string `json:"valid_from"`
	Until       string `json:"valid_to"`
	Description string `json:"description"`
}

func (c *rulesListCmd) Run(t terminal) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "RULE\tVERSION\tTYPE\tCERTIFICATE\tFROM\tUNTIL\tDESCRIPTION")
	}
	for _, path := range c.Files {
		rules, err := readRules(path)
		if err != nil {
			return err
		}
		for _, r := range rules {
			l := listedRule{
				Identifier: r.Identifier, Version: r.Version.String(), Type: string(r.Type), Country: r.Country, Region: r.Region,
				Certificate: string(r.CertificateType), From: r.ValidFrom.UTC().Format(time.DateOnly), Until: r.ValidTo.UTC().Format(time.DateOnly), Description: r.Describe("en"),
			}
			if c.JSON {
				writeJSON(t.out, l)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Identifier, l.Version, l.Type, l.Certificate, l.From, l.Until, strings.Join(strings.Fields(l.Description), " "))
		}
	}
	return w.Flush()
}

type rulesCheckCmd struct {
	Files []string `arg:"" name:"file" help:"File of one rule, or of an array of them."`
}

// Run exits 1 where a rule would be refused.
func (c *rulesCheckCmd) Run(t terminal) error {
	refused := false
	for _, path := range c.Files {
		rules, err := readRules(path)
		if err != nil {
			return err
		}
		for _, r := range rules {
			for _, f := range r.Check() {
				weight := "refused"
				if f.Tolerable {
					weight = "remark"
				} else {
					refused = true
				}
				fmt.Fprintf(t.out, "%s %s: %s: %s: %s\n", r.Identifier, r.Version, weight, f.Path, f.Reason)
			}
		}
		fmt.Fprintf(t.out, "%s: %d rules\n", path, len(rules))
	}
	if refused {
		return exitError{code: exitNotValid}
	}
	return nil
}

type rulesTryCmd struct {
	trustFlags
	Files []string `arg:"" name:"file" help:"Text or picture of a code; '-' is standard input."`
}

// Run shows the rules check alone. It exits as verify does, by that check.
func (c *rulesTryCmd) Run(t terminal) error {
	v, err := c.verifier(t.err)
	if err != nil {
		return err
	}
	if v.Rules == nil {
		return usageError("there is nothing to try: give --rules, or a bundle that has some")
	}
	failed, open := false, false
	for _, file := range c.Files {
		j := judgeFile(file, t.in, v, nil)
		if j.err != nil {
			return j.err
		}
		for _, verdict := range j.verdicts {
			check := verdict.Check(verifier.StepRules)
			fmt.Fprintf(t.out, "%s: %s (%s)\n", file, check.Result, check.Reason)
			if check.Detail != "" {
				fmt.Fprintf(t.out, "  %s\n", strings.ReplaceAll(check.Detail, "; ", "\n  "))
			}
			failed = failed || check.Result == verifier.Fail
			open = open || check.Result == verifier.CannotTell || check.Result == verifier.NotChecked
		}
	}
	switch {
	case failed:
		return exitError{code: exitNotValid}
	case open:
		return exitError{code: exitUndecided}
	}
	return nil
}
