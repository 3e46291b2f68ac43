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
{"Action":"run","Package":"a/hung","Test":"TestHung"}
{"Action":"fail","Package":"a/hung","Test":"TestBefore"}
{"Action":"output","Package":"a/hung","Output":"FAIL\ta/hung\t0.1s\n"}
{"Action":"fail","Package":"a/hung"}
{"Action":"fail","Package":"a/bad","Test":"TestAlone"}
{"Action":"run","Package":"a/bad","Test":"TestMany"}
{"Action":"pass","Package":"a/bad","Test":"TestMany/one"}
{"Action":"fail","Package":"a/bad","Test":"TestMany/802.1x"}
{"Action":"skip","Package":"a/bad","Test":"TestMany/three"}
{"Action":"fail","Package":"a/bad","Test":"TestMany"}
{"Action":"output","Package":"a/bad","Output":"FAIL\n"}
{"Action":"output","Package":"a/bad","Output":"FAIL\ta/bad\t0.1s\n"}
{"Action":"fail","Package":"a/bad"}
`)))
	want := "a/bad ^TestAlone$|^TestMany$/^802\\.1x$\na/broken\na/hung\n"
	if got := r.again(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
