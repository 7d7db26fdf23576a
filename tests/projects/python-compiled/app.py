def add(a, b):
    return a + b


if __name__ == "__main__":
    print("ok", add(1, 2))
