/*
 * cmd-net/nft.h: the table "inet netavark" over netlink. A rule is known by what it means: nft versions spell one rule in
 * different instructions (a range of ports is a range, or two comparisons), so it is decoded before it is compared.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "cmd-net/net.h"
#include "common/base/buf.h"

enum nft_verdict { NFT_V_NONE, NFT_V_ACCEPT, NFT_V_DROP, NFT_V_JUMP, NFT_V_MASQUERADE, NFT_V_DNAT, NFT_V_SETMARK };

#define NFT_CHAIN_SIZE 128
#define NFT_MARK 0x2000u /* masquerade this */

/* All conditions that are set must hold. */
struct nft_rule {
	char chain[NFT_CHAIN_SIZE], target[NFT_CHAIN_SIZE]; /* target: of a jump */
	char iif[16], oif[16];
	struct prefix from, to;	 /* family 0: any */
	struct addr dnat;
	uint64_t handle;
	uint32_t ct_state;	 /* bits of which one must be set */
	uint16_t port, port_end; /* destination; 0: any */
	uint16_t dnat_port;
	unsigned char proto;	 /* IPPROTO_*; 0: any */
	unsigned char verdict;
	bool to_not, oif_not;
	bool dns;		 /* tcp or udp, by a set */
	bool marked, local;	 /* has NFT_MARK; goes to an address of this host */
	bool first;		 /* to be inserted in front */
	bool other;		 /* says something that we do not know: never the same as ours */
};

struct nft {
	struct mnl_socket *sock;
	unsigned seq;
	uint32_t generation;
	struct nft_rule *rules; /* ordered by chain and port */
	size_t n_rules, cap;
	int error;
};

int nft_open(struct nft *t);
void nft_close(struct nft *t);
/* Read all rules of the table; none if it is not there. 0 or -errno. */
int nft_read(struct nft *t);
bool nft_has_chain(struct nft *t, const char *chain);
/* The rules of CHAIN that begin with PORT: call it with the last one for the next; NULL first and last. */
const struct nft_rule *nft_next(const struct nft *t, const char *chain, uint16_t port, const struct nft_rule *last);
/* Do A and B ask for the same packets; and do the same with them. */
bool nft_same_match(const struct nft_rule *a, const struct nft_rule *b);
bool nft_same(const struct nft_rule *a, const struct nft_rule *b);

/* A transaction: messages, carried out at once or not at all. -ERESTART: the rules are not those that were read. */
struct nft_batch {
	struct hoy_buf buf;
	unsigned seq, changes, sets;
};
#define NFT_BATCH_INIT { HOY_BUF_INIT(HOY_BUF_OURS), 0, 0, 0 }
void nft_put_table(struct nft_batch *b);
/* A base chain if TYPE is not NULL; nothing happens if it is there. */
void nft_put_chain(struct nft_batch *b, const char *name, const char *type, unsigned hook, int priority);
void nft_put_rule(struct nft_batch *b, const struct nft_rule *r);
void nft_put_delete(struct nft_batch *b, const struct nft_rule *r);
/* The chain with all its rules. */
void nft_put_delete_chain(struct nft_batch *b, const char *name);
int nft_commit(struct nft *t, struct nft_batch *b);

/* nftdec.c: what a message of the kernel says. */
void nft_decode(const struct nlmsghdr *n, struct nft_rule *ret);
