package main

import (
	"syscall"

	"ampoule/device"
)

// timeError is TIME_ERROR of adjtimex(2): the clock is not synchronised.
const timeError = 5

// synchronised is what the kernel says of its clock.
func synchronised() device.Clock {
	var x syscall.Timex
	if state, err := syscall.Adjtimex(&x); err == nil && state != timeError {
		return device.ClockSet
	}
	return device.ClockFree
}
