/* links: cmd-net */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/net.h"
#include "cmd-net/nft.h"
#include "cmd-net/sha512.h"
#include "common/base/err.h"
#include "tests/unit/tap.h"

static const struct { const char *in, *network, *whole; } prefixes[] = {
	{ "10.88.3.4/16", "10.88.0.0/16", "10.88.3.4/16" },
	{ "10.77.31.9/20", "10.77.16.0/20", "10.77.31.9/20" },
	{ "1.2.3.4/32", "1.2.3.4/32", "1.2.3.4/32" },
	{ "1.2.3.4/0", "0.0.0.0/0", "1.2.3.4/0" },
	{ "fd77:0:0:f::9/61", "fd77:0:0:8::/61", "fd77:0:0:f::9/61" },
};
static const char *const no_prefix[] = {
	"", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/8x", "10.0.0.0/-1", "10.0.0.0/ 8", "::/129", "x/8",
	"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc/8", "10.0.0.0/99999999999999999999",
};

static const struct nft_rule rules[] = {
	{ .chain = "A", .verdict = NFT_V_ACCEPT },
	{ .chain = "A", .verdict = NFT_V_DROP, .ct_state = 1 },
	{ .chain = "A", .verdict = NFT_V_ACCEPT, .from = { { AF_INET, { 10, 88 } }, 16 } },
	{ .chain = "A", .verdict = NFT_V_ACCEPT, .to = { { AF_INET, { 10, 77, 16 } }, 20 }, .ct_state = 6 },
	{ .chain = "A", .verdict = NFT_V_MASQUERADE, .to = { { AF_INET, { 224 } }, 4 }, .to_not = true },
	{ .chain = "A", .verdict = NFT_V_MASQUERADE, .to = { { AF_INET6, { 0xff } }, 8 }, .to_not = true },
	{ .chain = "A", .verdict = NFT_V_MASQUERADE, .marked = true },
	{ .chain = "A", .verdict = NFT_V_SETMARK },
	{ .chain = "A", .verdict = NFT_V_JUMP, .target = "B", .local = true },
	{ .chain = "A", .verdict = NFT_V_JUMP, .target = "B", .iif = "podman0", .oif = "podman0", .oif_not = true },
	{ .chain = "A", .verdict = NFT_V_DROP, .oif = "fifteen-letters" },
	{ .chain = "A", .verdict = NFT_V_ACCEPT, .from = { { AF_INET6, { 0xfd, 0x77 } }, 61 }, .dns = true, .port = 53, .port_end = 53 },
	{ .chain = "A", .verdict = NFT_V_JUMP, .target = "B", .proto = 17, .port = 18080, .port_end = 18090,
	  .from = { { AF_INET, { 127, 0, 0, 1 } }, 32 }, .to = { { AF_INET, { 192, 0, 2, 1 } }, 32 } },
	{ .chain = "A", .verdict = NFT_V_DNAT, .proto = 132, .port = 9, .port_end = 9, .dnat = { AF_INET6, { 0xfd, 1 } }, .dnat_port = 65535 },
	{ .chain = "A", .verdict = NFT_V_DNAT, .proto = 6, .port = 9, .port_end = 9, .dnat = { AF_INET, { 10, 0, 0, 9 } }, .dnat_port = 80,
	  .to = { { AF_INET, { 127, 0, 0, 1 } }, 32 } },
};

/* The rule in a batch: the last message. */
static const struct nlmsghdr *last(const struct nft_batch *b)
{
	const struct nlmsghdr *n = (const void *)b->buf.data, *r = n;
	int len = (int)b->buf.len;

	for (; mnl_nlmsg_ok(n, len); n = mnl_nlmsg_next(n, &len))
		r = n;
	return r;
}

/* Cut and changed messages must not make the decoder read elsewhere (the sanitizers look on). */
static void damage(const struct nlmsghdr *n)
{
	char copy[4096];
	struct nft_rule r;

	for (unsigned i = sizeof(*n); i < n->nlmsg_len; i++) {
		memcpy(copy, n, n->nlmsg_len);
		copy[i] ^= 0x5a;
		nft_decode((struct nlmsghdr *)copy, &r);
		memcpy(copy, n, n->nlmsg_len);
		((struct nlmsghdr *)copy)->nlmsg_len = i;
		nft_decode((struct nlmsghdr *)copy, &r);
	}
}

static void test_rules(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct nft_batch b = NFT_BATCH_INIT;
		struct nft_rule got;

		nft_put_rule(&b, &rules[i]);
		nft_decode(last(&b), &got);
		ok(nft_same(&got, &rules[i]) && !got.other, "rule %zu means the same after encoding and decoding", i);
		damage(last(&b));
		for (size_t j = 0; j < ARRAY_SIZE(rules); j++)
			if (j != i && nft_same(&got, &rules[j]))
				ok(false, "rules %zu and %zu are taken for the same", i, j);
		hoy_buf_release(&b.buf);
	}
}

static void test_prefixes(void)
{
	char a[ADDR_TEXT], b[ADDR_TEXT];
	struct prefix p, n;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		int r = prefix_parse(prefixes[i].in, &p);

		n = prefix_network(&p);
		ok(!r && !strcmp(prefix_text(&p, a), prefixes[i].whole) && !strcmp(prefix_text(&n, b), prefixes[i].network), "%s is in %s",
		   prefixes[i].in, prefixes[i].network);
		ok(prefix_holds(&n, &p.a), "and is held by it");
	}
	for (size_t i = 0; i < ARRAY_SIZE(no_prefix); i++)
		ok(prefix_parse(no_prefix[i], &p) < 0, "'%s' is no prefix", no_prefix[i]);
}

static void test_hash(void)
{
	char text[130], million[200];

	sha512_hex("abc", 3, text, 129);
	ok(!strcmp(text, "DDAF35A193617ABACC417349AE20413112E6FA4E89A97EA20A9EEEE64B55D39A2192992A274FC1A836BA3C23A3FEEBBD454D4423643CE80E2A9AC94FA54CA49F"),
	   "SHA-512 of abc");
	sha512_hex("podman", 6, text, 14);
	ok(!strcmp(text, "1D8721804F16F"), "as netavark cuts it");
	memset(million, 'a', sizeof(million));
	sha512_hex(million, 111, text, 14);
	ok(!strcmp(text, "FA9121C7B32B9"), "111 bytes: %s", text);
	sha512_hex(million, 112, text, 14);
	ok(!strcmp(text, "C01D080EFD492"), "112 bytes: %s", text);
	sha512_hex(million, 200, text, 14);
	ok(!strcmp(text, "4B11459C33F52"), "200 bytes: %s", text);
}

int main(void)
{
	test_prefixes();
	test_hash();
	test_rules();
	return tap_done();
}
