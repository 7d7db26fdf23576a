libs/one/src/lib.go
