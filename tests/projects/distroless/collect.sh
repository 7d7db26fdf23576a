# collect.sh PROGRAM ROOT: the program and the libraries that it needs
set -eu
mkdir -p "$2/etc" "$2/tmp" "$2/home/nonroot"
chmod 1777 "$2/tmp"
cp "$1" "$2/app"
ldd "$1" | grep -o '/[^ ]*' | while read -r lib; do
	mkdir -p "$2${lib%/*}"
	cp -L "$lib" "$2$lib"
done
echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$2/etc/passwd"
echo 'nonroot:x:65532:' >"$2/etc/group"
