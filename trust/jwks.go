package trust

import (
	"fmt"

	"ampoule/format/jwks"
	"ampoule/format/vci"
)

// addJWKS reads the key set of one issuer of SMART Health Cards.
func (l *List) addJWKS(s Source, data []byte) error {
	keys, err := jwks.Parse(data)
	if err != nil {
		return err
	}
	for i := range keys {
		l.addJWK(s, &keys[i], s.Issuer, s.Issuer)
	}
	return nil
}

// addVCI reads the VCI's directory. Revocations in it are not the list's
// business: see [Status.AddVCI].
func (l *List) addVCI(s Source, data []byte) error {
	d, err := vci.Parse(data)
	if err != nil {
		return err
	}
	for _, i := range d.Issuers {
		if i.Err != nil {
			l.drop(s.Name, i.ISS, i.Name, i.Err)
			continue
		}
		name := i.Name
		if name == "" {
			name = i.ISS
		}
		for k := range i.Keys {
			l.addJWK(s, &i.Keys[k], i.ISS, name)
		}
	}
	return nil
}

// addJWK inserts one key for the issuer, under the participant's name.
func (l *List) addJWK(s Source, k *jwks.Key, iss, participant string) {
	if k.Err != nil {
		l.drop(s.Name, k.KID, participant, k.Err)
		return
	}
	addresses := []string{iss}
	if iss != "" {
		if err := k.CheckIssuer(iss); err != nil {
			l.drop(s.Name, k.KID, participant, err)
			return
		}
	} else if len(k.Chain) > 0 {
		if addresses = k.Issuers(); len(addresses) == 0 {
			l.drop(s.Name, k.KID, participant, fmt.Errorf("x5c: the certificate names no issuer: %w", jwks.ErrX5CIssuer))
			return
		}
	}
	for _, address := range addresses {
		key := newBareKey(k.Public)
		key.Domain, key.ID, key.Issuer, key.Source, key.CRLVersion = SHC, KeyID(k.ID()), address, s.Name, k.CRLVersion
		switch {
		case participant != "":
			key.Participant = participant
		case address != "":
			key.Participant = address
		default:
			key.Participant = s.Name
		}
		l.Insert(key)
	}
}
