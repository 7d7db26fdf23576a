/* cmd-build/builder/hash.c: the digest of a file: what the cache in a registry calls a step. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd-build/builder/builder.h"
#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/data/digest.h"

static int hash(int fd, char hex[EVP_MAX_MD_SIZE * 2 + 1])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char piece[65536], sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	ssize_t n = -1;
	bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

	while (ok && (n = read(fd, piece, sizeof(piece))) > 0)
		ok = EVP_DigestUpdate(md, piece, n) == 1;
	ok = ok && EVP_DigestFinal_ex(md, sum, &len) == 1;
	EVP_MD_CTX_free(md);
	if (!ok || n < 0)
		return ok ? -errno : -ENOMEM;
	hoy_hex(hex, sum, len);
	return 0;
}

static int run_hash(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	char hex[EVP_MAX_MD_SIZE * 2 + 1];
	cleanup_fd int fd = -1;
	int status, r, n = hoy_verb_args(v, argc, argv, NULL, 1, 1, &status);

	if (n < 0)
		return status;
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : hash(fd, hex);
	if (r < 0)
		hoy_fail_errno(&err, -r, "cannot read '%s'", argv[1]);
	else
		puts(hex);
	return hoy_finish_stdout(r < 0 ? hoy_report(&err, 125) : 0);
}
static const struct hoy_opt no_opts[] = { HOY_OPTS_END };
const struct hoy_verb verb_hash = { "hash", "FILE", "Print the SHA-256 of a file", no_opts, run_hash, 0 };
