package main

import (
	"fmt"
	"time"

	"ampoule/internal/keys"
)

type keysTokenCmd struct {
	secretFlags
	URI   string `arg:"" name:"uri" help:"pkcs11:token=T;object=O;id=%01?module-path=M&pin-source=P (RFC 7512): where the key will be, and the file of the PIN."`
	SCA   string `required:"" placeholder:"F" help:"Key file of the authority that certifies it."`
	Years int    `default:"2" help:"How long the certificate counts, from 1 to 15 years."`
	Name  string `placeholder:"N" help:"Common name of the certificate; that of the authority with DSC otherwise."`
	Out   string `required:"" placeholder:"F" help:"Key file to write, which names the key: there is no secret in it."`
}

// Run makes the key on the token, where it stays, and its certificate.
func (c *keysTokenCmd) Run(t terminal) error {
	if c.Years < 1 || c.Years > 15 {
		return usageError("--years %d: from 1 to 15", c.Years)
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	token, err := keys.ParseToken(c.URI)
	if err != nil {
		return exitError{exitUsage, err}
	}
	authority, err := keys.Load(c.SCA, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	sca, err := keys.OpenSCA(authority)
	if err != nil {
		return usageError("%s: %w", c.SCA, err)
	}
	signer, err := keys.MakeOnToken(token)
	if err != nil {
		return exitError{exitUsage, err}
	}
	made, err := sca.IssueDSC(keys.DSCProfile{Signer: signer, Years: c.Years, Name: c.Name}, time.Now(), nil)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := keys.SaveToken(c.Out, c.URI, made.Chain); err != nil {
		return exitError{exitUsage, err}
	}
	// As a server will: what cannot be opened again is told now.
	if _, err := keys.Load(c.Out, lock); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: %x on the token, until %s\n", c.Out, made.KID(), made.Certificate().NotAfter.Format(time.DateOnly))
	return nil
}
