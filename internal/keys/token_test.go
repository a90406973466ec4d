package keys

import (
	"errors"
	"testing"
)

func TestParseToken(t *testing.T) {
	const files = "?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/ampoule/pin"
	got, err := ParseToken("pkcs11:token=XA%20health;object=dsc-1;id=%01%ff;type=private" + files)
	if err != nil || got.Label != "XA health" || got.Object != "dsc-1" || string(got.ID) != "\x01\xff" || got.Module != "/usr/lib/softhsm/libsofthsm2.so" || got.PINSource != "/etc/ampoule/pin" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err = ParseToken("pkcs11:serial=0123;id=%01" + files); err != nil || got.Serial != "0123" {
		t.Errorf("%+v %v", got, err)
	}
	for name, uri := range map[string]string{
		"no URI":                "token=a;object=b" + files,
		"no token":              "pkcs11:object=b" + files,
		"two tokens":            "pkcs11:token=a;serial=1;object=b" + files,
		"no key":                "pkcs11:token=a" + files,
		"no module":             "pkcs11:token=a;object=b?pin-source=/etc/pin",
		"no PIN":                "pkcs11:token=a;object=b?module-path=/usr/lib/x.so",
		"a module by its name":  "pkcs11:token=a;object=b?module-path=softhsm2&pin-source=/etc/pin",
		"a PIN in it":           "pkcs11:token=a;object=b" + files + "&pin-value=1234",
		"a program for the PIN": "pkcs11:token=a;object=b?module-path=/usr/lib/x.so&pin-source=|/bin/pin",
		"an attribute twice":    "pkcs11:token=a;token=b;object=b" + files,
		"an unknown one":        "pkcs11:token=a;object=b;slot-id=3" + files,
		"a public key":          "pkcs11:token=a;object=b;type=public" + files,
		"bad percent":           "pkcs11:token=%zz;object=b" + files,
	} {
		if got, err := ParseToken(uri); !errors.Is(err, ErrTokenURI) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("pkcs11:token=a;object=b?module-path=/usr/lib/x.so&pin-source=/etc/pin")
	f.Fuzz(func(t *testing.T, uri string) {
		if got, err := ParseToken(uri); err == nil && (got.Module == "" || got.PINSource == "" || got.Object == "" && len(got.ID) == 0) {
			t.Errorf("%+v", got)
		}
	})
}
