package main
import "testing"
func BenchmarkClaims(b *testing.B){ cs,err:=newCases(); if err!=nil{b.Fatal(err)}; for _,c:=range cases2(cs){ b.Run(c.name,func(b *testing.B){ b.ReportAllocs(); for b.Loop(){ if err:=c.run();err!=nil{b.Fatal(err)} } }) } }
func cases2(c []bench) []bench { return c }
