package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"ampoule/internal/keys"
)

// gate asks the gateway of a script, at $GATE, with the certificate of a key file:
// gate KEY PATH. It prints status and body.
func gate() {
	key, err := keys.Load(os.Args[1], keys.Unencrypted())
	if err != nil {
		panic(err)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, // the script made the server
		Certificates:       []tls.Certificate{{Certificate: rawChain(key), PrivateKey: key.Signer}},
	}}}
	res, err := client.Get("https://127.0.0.1:" + os.Getenv("GATE") + os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d %s\n", res.StatusCode, bytes.TrimSpace(body))
}
