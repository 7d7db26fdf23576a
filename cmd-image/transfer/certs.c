#include "cmd-image/transfer/certs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/fd.h"
#include "common/conf/dirs.h"

void tls_release(struct tls *t)
{
	free(t->ca);
	free(t->cert);
	free(t->key);
}

static void add_file(struct hoy_buf *b, const char *path)
{
	cleanup_free char *data = NULL;
	size_t len;

	if (!hoy_read_file(AT_FDCWD, path, 8 << 20, &data, &len, NULL)) {
		hoy_buf_add(b, data, len);
		hoy_buf_putc(b, '\n');
	}
}

static int scan_certs(struct tls *t, const char *dir, struct hoy_buf *ca, struct hoy_err *err)
{
	cleanup_dir DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name);
		cleanup_free char *path = hoy_path_join(dir, e->d_name);

		if (!path)
			return hoy_fail_oom(err);
		if (n > 4 && !strcmp(e->d_name + n - 4, ".crt")) {
			add_file(ca, path);
		} else if (n > 5 && !strcmp(e->d_name + n - 5, ".cert") && !t->cert) {
			t->key = hoy_asprintf("%.*s.key", (int)strlen(path) - 5, path);
			t->cert = steal_ptr(&path);
			if (!hoy_exists(AT_FDCWD, t->key))
				return hoy_fail(err, ENOENT, "the client certificate '%s' has no key '%s'", t->cert, t->key);
		}
	}
	return 0;
}

int tls_load(struct tls *t, const char *host, const char *cert_dir, struct hoy_err *err)
{
	static const char *const bundles[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem" };
	cleanup_buf struct hoy_buf ca = HOY_BUF_INIT((size_t)64 << 20);
	cleanup_free char *home = hoy_config_home();
	const char *const roots[] = { home, "/etc/containers", "/etc/docker" };
	const char *env = getenv("SSL_CERT_FILE");
	int res = 0;

	if (cert_dir)
		res = scan_certs(t, cert_dir, &ca, err);
	for (size_t i = 0; !cert_dir && !res && i < ARRAY_SIZE(roots); i++) {
		cleanup_free char *dir = hoy_asprintf(i ? "%s/certs.d/%s" : "%s/containers/certs.d/%s", roots[i] ? roots[i] : "", host);

		res = dir ? scan_certs(t, dir, &ca, err) : hoy_fail_oom(err);
	}
	if (res < 0 || (!ca.len && !(env && *env)))
		return res;
	if (env && *env)
		add_file(&ca, env);
	for (size_t i = 0; !(env && *env) && i < ARRAY_SIZE(bundles); i++)
		if (hoy_exists(AT_FDCWD, bundles[i])) {
			add_file(&ca, bundles[i]);
			break;
		}
	t->ca = hoy_buf_steal(&ca);
	return t->ca ? 0 : hoy_fail_oom(err);
}
