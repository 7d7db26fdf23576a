/* cmd-net/addr.c: addresses and prefixes. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-net/net.h"

int addr_parse(const char *text, struct addr *ret)
{
	struct addr a = { 0 };

	if (text && inet_pton(AF_INET, text, a.b) == 1)
		a.family = AF_INET;
	else if (text && inet_pton(AF_INET6, text, a.b) == 1)
		a.family = AF_INET6;
	else
		return -EINVAL;
	*ret = a;
	return 0;
}

int prefix_parse(const char *text, struct prefix *ret)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	char copy[INET6_ADDRSTRLEN], *end;
	struct prefix p;
	unsigned long bits;

	if (!slash || (size_t)(slash - text) >= sizeof(copy) || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	memcpy(copy, text, slash - text);
	copy[slash - text] = '\0';
	bits = strtoul(slash + 1, &end, 10);
	if (*end || addr_parse(copy, &p.a) < 0 || bits > addr_size(&p.a) * 8)
		return -EINVAL;
	p.bits = (unsigned)bits;
	*ret = p;
	return 0;
}

struct prefix prefix_network(const struct prefix *p)
{
	struct prefix n = *p;

	for (unsigned i = 0; i < sizeof(n.a.b); i++)
		if (i * 8 + 8 > n.bits)
			n.a.b[i] &= i * 8 >= n.bits ? 0 : (unsigned char)(0xff00 >> (n.bits - i * 8));
	return n;
}

bool prefix_holds(const struct prefix *p, const struct addr *a)
{
	struct prefix q = { *a, p->bits };

	if (a->family != p->a.family)
		return false;
	q = prefix_network(&q);
	return !memcmp(q.a.b, prefix_network(p).a.b, addr_size(a));
}

const char *addr_text(const struct addr *a, char buf[ADDR_TEXT])
{
	if (!inet_ntop(a->family, a->b, buf, ADDR_TEXT))
		buf[0] = '\0';
	return buf;
}

const char *prefix_text(const struct prefix *p, char buf[ADDR_TEXT])
{
	size_t n;

	addr_text(&p->a, buf);
	n = strlen(buf);
	snprintf(buf + n, ADDR_TEXT - n, "/%u", p->bits);
	return buf;
}
