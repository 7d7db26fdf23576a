services/api/main.go
