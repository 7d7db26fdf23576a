#include "cmd-image/transfer/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"

static const char *first_set(const char *const *names, const char **ret_var)
{
	for (; *names; names++) {
		const char *v = getenv(*names);

		if (v && *v) {
			*ret_var = *names;
			return v;
		}
	}
	return NULL;
}

/* Is the address HOST in the network NET ("10.0.0.0/8"), or is it that address? */
static bool in_network(const char *host, const char *net)
{
	unsigned char a[16], b[16];
	char text[64];
	size_t n = strcspn(net, "/");
	int family = strchr(host, ':') ? AF_INET6 : AF_INET, all = family == AF_INET ? 32 : 128, bits = net[n] ? atoi(net + n + 1) : all;

	if (n >= sizeof(text) || bits < 0 || bits > all)
		return false;
	memcpy(text, net, n);
	text[n] = '\0';
	if (inet_pton(family, host, a) != 1 || inet_pton(family, text, b) != 1 || memcmp(a, b, bits / 8))
		return false;
	return !(bits % 8) || !((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8));
}

static bool excepts(const char *list, const char *host)
{
	cleanup_free char *copy = strdup(list);
	char *save = NULL;

	for (char *p = copy ? strtok_r(copy, ", ", &save) : NULL; p; p = strtok_r(NULL, ", ", &save)) {
		size_t h = strlen(host), n;

		if (!strcmp(p, "*") || in_network(host, p))
			return true;
		p += *p == '.';
		n = strlen(p);
		if (n && h >= n && !strcasecmp(host + h - n, p) && (h == n || host[h - n - 1] == '.'))
			return true;
	}
	return false;
}

int proxy_env(void)
{
	static const char *const any[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL };
	static const char *const none[] = { "no_proxy", "NO_PROXY", NULL };
	const char *plain = getenv("HTTP_PROXY"), *var, *but;
	cleanup_free char *all = NULL;

	if (plain && *plain && !getenv("http_proxy") && !getenv("REQUEST_METHOD") && setenv("http_proxy", plain, 1) < 0)
		return -ENOMEM;
	if (!first_set(any, &var))
		return 0;
	but = first_set(none, &var);
	all = hoy_asprintf("%s%slocalhost,127.0.0.0/8,::1", but ? but : "", but ? "," : "");
	return all && !setenv("no_proxy", all, 1) ? 0 : -ENOMEM;
}

const char *proxy_for(const char *host, bool https, const char **ret_var)
{
	static const char *const secure[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL };
	static const char *const plain[] = { "http_proxy", "all_proxy", "ALL_PROXY", NULL };
	static const char *const none[] = { "no_proxy", "NO_PROXY", NULL };
	const char *proxy = NULL, *but, *var = NULL;
	cleanup_free char *name = *host == '[' ? strndup(host + 1, strcspn(host + 1, "]")) : strndup(host, strcspn(host, ":"));

	*ret_var = NULL;
	proxy = first_set(https ? secure : plain, ret_var);
	but = proxy ? first_set(none, &var) : NULL;
	if (!but || !name || !excepts(but, name))
		return proxy;
	*ret_var = var;
	return NULL;
}
