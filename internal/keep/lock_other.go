//go:build !unix || aix || solaris || illumos

package keep

import "os"

// Lock does nothing where folders cannot be locked.
func Lock(string) (unlock func() error, err error) { return func() error { return nil }, nil }

// Own does nothing where files cannot be locked.
func Own(*os.File) (release func() error, err error) { return func() error { return nil }, nil }
