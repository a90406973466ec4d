package main

import (
	"fmt"
	"time"

	"ampoule/internal/keys"
)

type keysSignerCmd struct {
	secretFlags
	SCA   string   `required:"" placeholder:"F" help:"Key file of the authority that certifies it."`
	Token string   `placeholder:"URI" help:"Make the key on hardware: pkcs11:token=T;object=O;id=%%01?module-path=M&pin-source=P (RFC 7512), where P is the file of the PIN."`
	Usage []string `enum:"test,vaccination,recovery" help:"What it may sign: ${enum}; anything otherwise."`
	Years int      `default:"2" help:"How long the certificate counts, from 1 to 15 years."`
	Name  string   `placeholder:"N" help:"Common name of the certificate; that of the authority with DSC otherwise."`
	Out   string   `required:"" placeholder:"F" help:"Key file to write. That of a key on hardware names it, and has no secret in it."`
}

var usageNames = map[string]keys.Usage{"test": keys.UsageTest, "vaccination": keys.UsageVaccination, "recovery": keys.UsageRecovery}

// Run makes a document signer. A key on hardware stays there.
func (c *keysSignerCmd) Run(t terminal) error {
	if c.Years < 1 || c.Years > 15 {
		return usageError("--years %d: from 1 to 15", c.Years)
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	authority, err := keys.Load(c.SCA, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	sca, err := keys.OpenSCA(authority)
	if err != nil {
		return usageError("%s: %w", c.SCA, err)
	}
	profile := keys.DSCProfile{Years: c.Years, Name: c.Name}
	for _, name := range c.Usage {
		profile.Usages = append(profile.Usages, usageNames[name])
	}
	if c.Token != "" {
		token, err := keys.ParseToken(c.Token)
		if err != nil {
			return exitError{exitUsage, err}
		}
		if profile.Signer, err = keys.MakeOnToken(token); err != nil {
			return exitError{exitUsage, err}
		}
	}
	made, err := sca.IssueDSC(profile, time.Now(), nil)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if c.Token != "" {
		err = keys.SaveToken(c.Out, c.Token, made.Chain)
	} else {
		err = keys.Save(c.Out, made, lock)
	}
	if err != nil {
		return exitError{exitUsage, err}
	}
	// As a server will: what cannot be opened again is told now.
	if _, err := keys.Load(c.Out, lock); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: %x, until %s\n", c.Out, made.KID(), made.Certificate().NotAfter.Format(time.DateOnly))
	return nil
}
