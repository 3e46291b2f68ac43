package main

import (
	"bufio"
	"strings"
	"testing"
)

func TestOnlyWhatFailedIsRunAgain(t *testing.T) {
	r := read(bufio.NewScanner(strings.NewReader(`
{"Action":"pass","Package":"a/good","Test":"TestGood"}
{"Action":"pass","Package":"a/good"}
{"Action":"fail","Package":"a/broken"}
{"Action":"run","Package":"a/bad","Test":"TestHung"}
{"Action":"run","Package":"a/bad","Test":"TestMany"}
{"Action":"pass","Package":"a/bad","Test":"TestMany/one"}
{"Action":"fail","Package":"a/bad","Test":"TestMany/802.1x"}
{"Action":"skip","Package":"a/bad","Test":"TestMany/three"}
{"Action":"fail","Package":"a/bad","Test":"TestMany"}
{"Action":"fail","Package":"a/bad"}
`)))
	want := "a/bad ^TestHung$|^TestMany$/^802\\.1x$\na/broken\n"
	if got := r.again(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
