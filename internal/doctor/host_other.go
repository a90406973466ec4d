//go:build !linux && !darwin

package doctor

import "errors"

func DiskFree(string) (free, total uint64, err error) { return 0, 0, errors.ErrUnsupported }

func fileLimit() (uint64, error) { return 0, errors.ErrUnsupported }
