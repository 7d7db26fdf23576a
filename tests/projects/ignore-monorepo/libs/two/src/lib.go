libs/two/src/lib.go
