#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/beneath.h"
#include "common/base/copytree.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/tree.h"
#include "tests/unit/tap.h"

static const struct { const char *path; int want; const char *why; } cases[] = {
	{ "etc/../in", 0, "a .. and a symlink that stay inside" },
	{ "../secret", -EXDEV, "a .. that leaves" },
	{ "abs", -EXDEV, "an absolute symlink" },
	{ "out", -EXDEV, "a relative symlink that leaves" },
	{ "fifo", -EINVAL, "a FIFO, without hanging" },
	{ "etc", -EISDIR, "a directory" },
	{ "none", -ENOENT, "nothing" },
	{ "big", -EFBIG, "more than was allowed" },
};

static void put(int dir, const char *name, const char *text)
{
	if (hoy_replace_file(dir, name, text, strlen(text), 0644, false) < 0)
		abort();
}

static int fixture(void)
{
	char dir[] = "/tmp/hoy-unit-XXXXXX";
	int top, root;

	if (!mkdtemp(dir) || chdir(dir) < 0)
		abort();
	top = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(top, "secret", "no");
	root = hoy_open_dir_p(top, "root/etc/deep", 0755);
	hoy_close(root);
	root = open("root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(root, "etc/file", "yes!");
	put(root, "big", "12345");
	if (symlinkat("etc/file", root, "in") < 0 || symlinkat("/etc/passwd", root, "abs") < 0 || symlinkat("../secret", root, "out") < 0 ||
	    mkfifoat(root, "fifo", 0600) < 0)
		abort();
	hoy_close(top);
	return root;
}

/* A copy has what a tar could tell of the tree, and nothing of what links lead to. */
static void test_copy(int root)
{
	struct timespec t[2] = { { 7, 0 }, { 1234567890, 123456789 } };
	struct stat a, b, c;
	char link[16] = "";
	cleanup_fd int from = -1, to = -1;

	mkdirat(root, "from", 0750);
	mkdirat(root, "to", 0700);
	mkdirat(root, "from/d", 0700);
	mknodat(root, "from/d/fifo", S_IFIFO | 0600, 0);
	hoy_replace_file(root, "from/one", "12345", 5, 0640, false);
	ok(!fchmodat(root, "from/one", 04751, 0) && !fchmodat(root, "from/d", 01777, 0) && !fchmodat(root, "from", 0750, 0) &&
	   !linkat(root, "from/one", root, "from/d/two", 0) &&
	   !symlinkat("/etc/passwd", root, "from/link"), "a tree");
	utimensat(root, "from/one", t, 0);
	utimensat(root, "from/link", t, AT_SYMLINK_NOFOLLOW);
	utimensat(root, "from/d", t, 0);
	from = openat(root, "from", O_RDONLY | O_DIRECTORY);
	to = openat(root, "to", O_RDONLY | O_DIRECTORY);
	ok(!hoy_copy_tree(from, to, true), "a tree is copied");
	ok(!fstatat(to, "one", &a, 0) && a.st_size == 5 && (a.st_mode & 07777) == 04751 && a.st_mtim.tv_sec == 1234567890 &&
	   a.st_mtim.tv_nsec == 123456789, "a file with size, mode and time");
	ok(!fstatat(to, "d/two", &b, 0) && a.st_ino == b.st_ino && a.st_nlink == 2, "a hard link stays one");
	ok(readlinkat(to, "link", link, sizeof(link) - 1) > 0 && !strcmp(link, "/etc/passwd"), "a symlink is not followed");
	ok(!fstatat(to, "link", &c, AT_SYMLINK_NOFOLLOW) && c.st_mtim.tv_nsec == 123456789, "and keeps its time");
	ok(!fstatat(to, "d", &c, 0) && (c.st_mode & 07777) == 01777 && c.st_mtim.tv_nsec == 123456789, "a directory with mode and time");
	ok(!fstatat(to, "d/fifo", &c, 0) && S_ISFIFO(c.st_mode) && !fstat(to, &c) && (c.st_mode & 07777) == 0750, "a fifo; the root's mode");
	ok(hoy_copy_tree(from, to, true) == -EEXIST, "nothing is overwritten");
	hoy_remove_tree(root, "to/d");
	hoy_remove_tree(root, "to/one");
	hoy_remove_tree(root, "to/link");
	ok(!hoy_copy_tree(from, to, false) && fstatat(to, "d/fifo", &c, 0) < 0, "special files can be left out");
}

int main(void)
{
	cleanup_fd int root = fixture(), made = -1;
	struct hoy_err err = HOY_ERR_INIT;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *data = NULL;
		struct hoy_err e = HOY_ERR_INIT;
		size_t len = 99;
		int r = hoy_read_beneath(root, cases[i].path, 4, &data, &len, &e);

		ok(r == cases[i].want, "%s: %s (%d)", cases[i].path, cases[i].why, r);
		ok(r ? !data && len == 99 && e.msg[0] : len == 4, "outputs only on success");
	}
	/* In a root, the same absolute symlink stays inside. */
	made = hoy_mkdir_in_root(root, "/abs-dir/../new/a/b", 0755);
	ok(made == -ENOENT || made >= 0, "a directory beneath a root");
	hoy_close(made);
	made = hoy_mkdir_in_root(root, "/new/a/b/", 0755);
	ok(made >= 0 && !fstatat(root, "new/a/b", &st, 0) && S_ISDIR(st.st_mode), "missing parents are made inside");
	ok(symlinkat("/target", root, "jump") == 0, "a symlink to an absolute path");
	hoy_close(made);
	mkdirat(root, "target", 0755);
	made = hoy_mkdir_in_root(root, "jump/x", 0755);
	ok(made >= 0 && !fstatat(root, "target/x", &st, 0) && access("/target/x", F_OK) < 0, "is followed inside of the root");
	ok(hoy_fail(&err, EINVAL, "a\nb\033c") == -EINVAL && !strcmp(err.msg, "a?b?c"), "control characters cannot be printed");
	ok(hoy_fail_prefix(&err, "in '%s'", "x") == -EINVAL && !strcmp(err.msg, "in 'x': a?b?c"), "a prefix");
	ok(hoy_tree_size(root, "etc") == 4, "the size of a tree is that of its files");
	ok(!linkat(root, "big", root, "etc/again", 0) && !linkat(root, "big", root, "etc/deep/again", 0) && hoy_tree_size(root, "etc") == 9,
	   "a file with two names counts once");
	ok(!symlinkat("/etc", root, "etc/out") && hoy_tree_size(root, "etc") == 13, "a symlink is as long as its text, and not followed");
	ok(hoy_tree_size(root, "big") == 5 && hoy_tree_size(root, "none") == 0, "of a file; of nothing");
	test_copy(root);
	ok(!hoy_remove_tree(AT_FDCWD, "root") && access("root", F_OK) < 0, "a tree is removed");
	ok(!hoy_remove_tree(AT_FDCWD, "root"), "also when it is not there");
	ok(!access("secret", F_OK), "and nothing outside");
	return tap_done();
}
