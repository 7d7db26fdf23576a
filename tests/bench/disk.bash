# bench/disk.bash: make_disk DIR: a new ext4, with a journal, on DIR/disk; drop_disk DIR takes it away.
# A root file system without a journal, as some virtual machines have, searches long for an inode after many were freed.

make_disk() {
	truncate -s 16G "$1/disk.img"
	mkfs.ext4 -q -F "$1/disk.img"
	mkdir "$1/disk"
	# Past this machine's cache, which would have every page twice and write it by one thread.
	mount "$(losetup --find --show --direct-io=on "$1/disk.img")" "$1/disk"
}

drop_disk() {
	local loop
	[[ -e $1/disk.img ]] || return 0
	loop=$(losetup --associated "$1/disk.img" | cut -d: -f1)
	umount -l "$1/disk" 2>/dev/null
	[[ -z $loop ]] || losetup -d "$loop"
}
