services/api/deep/down/a.go
