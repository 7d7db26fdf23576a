/* Tests of what a Containerfile means: instructions, here-documents, substitution, and what is left out of a context. */
/* links: cmd-build cmd-build/builder */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/builder/ignore.h"
#include "cmd-build/builder/builder.h"
#include "cmd-build/cfile.h"
#include "cmd-build/mounts.h"
#include "cmd-build/screen.h"
#include "cmd-build/subst.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/tap.h"

/* Instructions as "WORD{flag}[arg|arg]", "=" behind the word for JSON, "<name:content>" for here-documents; or an error. */
static const struct { const char *text, *want; } files[] = {
	{ "FROM a", "FROM[a]" },
	{ "from a as b\n", "FROM[a|as|b]" },
	{ "\n# c\n  FROM a\n\t# d\n", "FROM[a]" },
	{ "\xef\xbb\xbf" "FROM a\r\nRUN b\r\n", "FROM[a] RUN[b]" },
	{ "FROM --platform=linux/amd64 a", "FROM{--platform=linux/amd64}[a]" },
	{ "RUN a \\\n# gone\n\n  b \\  \n c", "RUN[a   b  c]" },
	{ "# escape=`\nRUN a `\nb\\\nENV a=c:\\x", "RUN[a b\\] ENV[a|c:\\x]" },
	{ "# syntax=docker/dockerfile:1\n#escape=`\nRUN a`\nb", "RUN[ab]" },
	{ "\n# escape=`\nRUN a`\nUSER b", "RUN[a`] USER[b]" },
	{ "# escape=x\nRUN a", "x:1: invalid escape token 'x': must be ` or \\" },
	{ "RUN [\"a\", \"b c\"]", "RUN=[a|b c]" },
	{ "RUN [a, b]", "RUN[[a, b]]" },
	{ "RUN [\"a\", 1]", "x:1: RUN: when using JSON array syntax, arrays must be comprised of strings only" },
	{ "RUN [ \"a\" ] && b", "RUN[[ \"a\" ] && b]" },
	{ "CMD [ \"a\" ] && b", "CMD=[a]" },
	{ "CMD []", "CMD=[]" },
	{ "CMD \t", "CMD[]" },
	{ "SHELL", "x:1: SHELL: requires the arguments to be in JSON form" },
	{ "\\\n USER a \t", "USER[a]" },
	{ "VOLUME /a /b", "VOLUME[/a|/b]" },
	{ "VOLUME [\"/a b\"]", "VOLUME=[/a b]" },
	{ "COPY --from=x --chown=1:2 a \"b c\" d\\ e f/", "COPY{--from=x}{--chown=1:2}[a|\"b|c\"|d\\|e|f/]" },
	{ "COPY [\"a b\", \"c\"]", "COPY=[a b|c]" },
	{ "COPY -- --a b", "COPY[--a|b]" },
	{ "COPY --nope a b", "x:1: COPY: unknown flag: --nope" },
	{ "COPY a", "x:1: COPY: requires at least one source and a destination" },
	{ "ENV a=b c=\"d e\" f=g\\ h", "ENV[a|b|c|\"d e\"|f|g\\ h]" },
	{ "ENV a b  c", "ENV[a|b  c]" },
	{ "ENV a", "x:1: ENV: 'a' must have a value: NAME=VALUE, or NAME VALUE" },
	{ "ENV a=b c", "x:1: ENV: cannot find = in 'c': must be of the form NAME=VALUE" },
	{ "ARG a b=c", "ARG[a|b=c]" },
	{ "RUN <<EOF\na\n\tb\nEOF\nUSER x", "RUN[<<EOF]<EOF:a\n\tb\n> USER[x]" },
	{ "RUN <<-'E F'\n\ta\n\tE F\n", "RUN[<<-'E F']<E F:a\n!>" },
	{ "COPY <<a <<b /x/\n1\na\n2\nb\n", "COPY[<<a|<<b|/x/]<a:1\n><b:2\n>" },
	{ "RUN cat <<<x", "RUN[cat <<<x]" },
	{ "RUN <<E\nx", "x:1: RUN: unterminated heredoc 'E'" },
	{ "HEALTHCHECK --interval=5s CMD a b", "HEALTHCHECK{--interval=5s}[CMD|a b]" },
	{ "HEALTHCHECK cmd [\"a\"]", "HEALTHCHECK=[CMD|a]" },
	{ "HEALTHCHECK NONE", "HEALTHCHECK[NONE]" },
	{ "HEALTHCHECK NONE x", "x:1: HEALTHCHECK: NONE takes no arguments" },
	{ "HEALTHCHECK x", "x:1: HEALTHCHECK: unknown type 'x': it is CMD or NONE" },
	{ "ONBUILD COPY --from=x a b", "ONBUILD[COPY --from=x a b]" },
	{ "SHELL /bin/sh", "x:1: SHELL: requires the arguments to be in JSON form" },
	{ "FROM a\n\nNOPE x", "x:3: unknown instruction: NOPE" },
	{ "FROM a b", "x:1: FROM: requires one argument, or three: FROM IMAGE [AS NAME]" },
	{ "# nothing\n", "x: file with no instructions" },
};

static void describe(const struct cfile *f, struct hoy_buf *b)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct cf_instr *in = &f->v[i];

		hoy_buf_printf(b, "%s%s%s", i ? " " : "", in->word, in->json ? "=" : "");
		for (size_t k = 0; k < in->flags.n; k++)
			hoy_buf_printf(b, "{%s}", in->flags.v[k]);
		for (size_t k = 0; k < in->args.n; k++)
			hoy_buf_printf(b, "%c%s", k ? '|' : '[', in->args.v[k]);
		hoy_buf_puts(b, in->args.n ? "]" : "[]");
		for (size_t k = 0; k < in->n_docs; k++)
			hoy_buf_printf(b, "<%s:%s%s>", in->docs[k].name, in->docs[k].content, in->docs[k].expand ? "" : "!");
	}
}

static void test_files(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_cfile struct cfile f = CFILE_INIT;
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);
		struct hoy_err err = HOY_ERR_INIT;

		if (cfile_parse(&f, "x", files[i].text, strlen(files[i].text), &err) < 0)
			hoy_buf_puts(&b, err.msg);
		else
			describe(&f, &b);
		ok(!strcmp(hoy_buf_str(&b), files[i].want), "%s: %s", files[i].text, hoy_buf_str(&b));
	}
}

/* With A=1, E empty, P=/usr/lib/x.tar.gz, S="a b"; an error begins with '!'. */
static const struct { const char *word, *want; } words[] = {
	{ "a$A", "a1" }, { "${A}b", "1b" }, { "$Ab", "" }, { "\\$A", "$A" }, { "'$A'", "$A" }, { "\"$A\"", "1" }, { "\"\\$A\\\"\\x\"", "$A\"\\x" },
	{ "a\\ b", "a b" }, { "$", "$" }, { "$ a", "$ a" }, { "${A:-x}", "1" }, { "${E:-x}", "x" }, { "${E-x}", "" }, { "${U-x}", "x" },
	{ "${U:-${A}2}", "12" }, { "${U:-'a }'}", "a }" }, { "${A:+y}", "y" }, { "${E:+y}", "" }, { "${E+y}", "y" }, { "${U+y}", "" },
	{ "${U:?no $A}", "!U: no 1" }, { "${U?}", "!U: is not allowed to be unset" }, { "${A?x}", "1" },
	{ "${P#*/}", "usr/lib/x.tar.gz" }, { "${P##*/}", "x.tar.gz" }, { "${P%.*}", "/usr/lib/x.tar" }, { "${P%%.*}", "/usr/lib/x" },
	{ "${P#nope}", "/usr/lib/x.tar.gz" }, { "${P%.g?}", "/usr/lib/x.tar" }, { "${P/usr/opt}", "/opt/lib/x.tar.gz" },
	{ "${P//./_}", "/usr/lib/x_tar_gz" }, { "${P/\\/usr/}", "/lib/x.tar.gz" }, { "${P//r*/$A}", "/us1" }, { "${P/'*'/x}", "/usr/lib/x.tar.gz" },
	{ "$1$@x$12", "$@x2" }, { "${}", "!syntax error: bad substitution in '${}'" }, { "${A", "!syntax error: missing '}' after '${A'" },
	{ "${A:-x", "!syntax error: missing '}'" }, { "${A!x}", "!unsupported modifier (!x) in substitution of 'A'" },
	{ "'a", "!unexpected end of statement while looking for matching single-quote" },
	{ "\"a", "!unexpected end of statement while looking for matching double-quote" },
};
static const struct { const char *word, *want; } lists[] = {
	{ "$S c", "a|b|c" }, { "\"$S\" c", "a b|c" }, { "x$S", "xa|b" }, { "'' $E y", "|y" }, { "80 81/udp", "80|81/udp" },
};

static void test_words(void)
{
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;

	hoy_strv_push(&vars, "A=1");
	hoy_strv_push(&vars, "E=");
	hoy_strv_push(&vars, "P=/usr/lib/x.tar.gz");
	hoy_strv_push(&vars, "S=a b");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct hoy_err err = HOY_ERR_INIT;
		cleanup_free char *got = subst_word(words[i].word, '\\', &vars, &err);

		ok(*words[i].want == '!' ? !got && !strcmp(err.msg, words[i].want + 1) : got && !strcmp(got, words[i].want), "%s: %s",
		   words[i].word, got ?: err.msg);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		cleanup_strv struct hoy_strv got = HOY_STRV_INIT, want = HOY_STRV_INIT;
		struct hoy_err err = HOY_ERR_INIT;
		bool same = !subst_words(lists[i].word, '\\', &vars, &got, &err);

		hoy_strv_split(&want, lists[i].want, '|');
		same = same && got.n == want.n;
		for (size_t k = 0; same && k < got.n; k++)
			same = !strcmp(got.v[k], want.v[k]);
		ok(same, "words of %s", lists[i].word);
	}
}

static void test_docs(void)
{
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *got = NULL;

	hoy_strv_push(&vars, "A=1");
	got = subst_text("'$A' \"${A}\" \\$A \\x\n", '\\', &vars, &err);
	ok(got && !strcmp(got, "'1' \"1\" $A \\x\n"), "a here-document keeps its quotes: %s", got ?: err.msg);
}

/* The file's lines, a path, is it left out? (tests/bats/70-build.bats asks podman the same.) */
static const struct { const char *lines, *path; bool out; } ignored[] = {
	{ "a", "a", true }, { "a", "a/b", true }, { "a", "b/a", false }, { "/a", "a", true }, { "a/", "a", true }, { "./a", "a", true },
	{ "*", "a", true }, { "*.c", "a.c", true }, { "*.c", "d/a.c", false }, { "**/*.c", "d/e/a.c", true }, { "**/*.c", "a.c", true },
	{ "**/a", "a", true }, { "a/**/b", "a/b", true }, { "**/a/b", "a/b", true }, { "**/a", "ba", false },
	{ "*/a", "b/a", true }, { "*/a", "b/c/a", false }, { "d/**", "d/x/y", true }, { "d/**", "d", false }, { "**/d", "a/d/x", true },
	{ "a?c", "abc", true }, { "a?c", "a/c", false }, { "[a-c]x", "bx", true }, { "[a-c]x", "dx", false }, { "[^a]x", "bx", true },
	{ "\\*", "*", true }, { "\\*", "a", false }, { "*\n!a", "a", false }, { "*\n!a", "b", true }, { "!a\n*", "a", true },
	{ "d\n!d/keep", "d/keep", false }, { "d\n!d/keep", "d/other", true }, { "#a", "#a", false }, { "  a  ", "a", true },
	{ "! a", "a", false }, { "a\n! a", "a", false }, { "x/../a", "a", true }, { "a**b", "ab", true }, { "a**b", "ax/b", true },
	{ "a**b", "axb", false }, { "**", "a/b", true }, { "d/*/f", "d/e/f", true }, { "d/*/f", "d/e/g/f", false }, { "a.c", "abc", false },
	{ "a+", "a+", true }, { "", "a", false },
};

static void test_ignore(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		struct ignore g = { 0 };
		struct hoy_err err = HOY_ERR_INIT;

		ok(!ignore_parse(&g, ignored[i].lines, "x", &err) && ignore_matches(&g, ignored[i].path) == ignored[i].out, "'%s' of %s",
		   ignored[i].path, ignored[i].lines);
		ignore_release(&g);
	}
}

/* Modes of --chmod: what becomes of that of a file and of a directory; -1: it's wrong. */
static const struct { const char *text; int file, dir; } modes[] = {
	{ "0751", 0751, 0751 }, { "6755", 06755, 06755 }, { "u+x", 0744, 0755 }, { "a=rX", 0444, 0555 }, { "go-rwx,u=rwX", 0600, 0700 },
	{ "g=u,o-r", 0660, 0771 }, { "+t", 01644, 01755 }, { "u+s,g+s", 06644, 06755 }, { "=", 0, 0 }, { "8", -1, 0 }, { "u+q", -1, 0 },
	{ "u+x,", -1, 0 }, { "", -1, 0 }, { "77777", -1, 0 },
};

static void test_modes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct hoy_err err = HOY_ERR_INIT;
		int r = chmod_check(modes[i].text, &err);

		ok(modes[i].file < 0 ? r == -EINVAL : !r && chmod_mode(modes[i].text, S_IFREG | 0644) == (mode_t)modes[i].file &&
						      chmod_mode(modes[i].text, S_IFDIR | 0755) == (mode_t)modes[i].dir, "mode %s", modes[i].text);
	}
}

/* --mount beneath /w: "TYPE TARGET SOURCE ID" or a part of the sentence. */
static const struct { const char *text, *want; } mounts[] = {
	{ "target=x", "0 /w/x - -" }, { "type=bind,source=a,dst=/b/../c,rw", "0 /c a -" }, { "type=cache,id=i,destination=/c", "1 /c - i" },
	{ "type=secret,id=s", "3 - - s" }, { "type=ssh", "4 - - -" }, { "type=tmpfs,target=/t,size=1m", "2 /t - -" },
	{ "type=bind", "must set volume destination" }, { "type=what,target=/x", "invalid mount type" }, { "type=secret", "secret should have syntax" },
	{ "target=/..", "cannot be /" }, { "type=ssh,ro", "invalid mount option of type ssh" },
};

static void test_mounts(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		struct mount_spec m = { .options = HOY_STRV_INIT };
		struct hoy_err err = HOY_ERR_INIT;
		char got[200];

		if (mount_spec_parse(&m, mounts[i].text, "/w", &err) < 0)
			ok(strstr(err.msg, mounts[i].want) != NULL, "--mount=%s: %s", mounts[i].text, err.msg);
		else {
			snprintf(got, sizeof(got), "%d %s %s %s", (int)m.type, m.target ?: "-", m.source ?: "-", m.id ?: "-");
			ok(!strcmp(got, mounts[i].want), "--mount=%s: %s", mounts[i].text, got);
		}
		mount_spec_release(&m);
	}
}

/* ---- what is printed on a terminal ---- */

static const struct {
	const char *in, *want, *why;
} screens[] = {
	{ "plain \ttext", "plain \ttext", "text and tabs stay" },
	{ "10%\r50%\r100%", "100%", "what is overwritten, isn't seen" },
	{ "done\r", "done", "a return at the end" },
	{ "\r\r", "", "returns alone" },
	{ "\033[1;31mred\033[m", "\033[1;31mred\033[m\033[0m", "colours stay, and end" },
	{ "\033[38:5:1mx", "\033[38:5:1mx\033[0m", "colours with colons" },
	{ "\033[>4;2mx\033[?1049hy", "xy", "modes of keyboard and screen" },
	{ "a\033[2Jb\033[10;5Hc\033[Ad", "abcd", "moves and erasures" },
	{ "\033]0;title\ax\033]8;;http://a\033\\y", "xy", "titles and links" },
	{ "\033Pq#0\033\\z", "z", "device strings" },
	{ "\033]0;no end", "", "a title without an end" },
	{ "\033[12", "", "a sequence without an end" },
	{ "\033", "", "an escape alone" },
	{ "\033(0x\033cy\0337z", "xyz", "character sets, resets" },
	{ "a\bb\ac\177d\016e", "abcde", "control characters" },
	{ "\302\233Jx \303\244 \342\202\254", "Jx \303\244 \342\202\254", "control characters in UTF-8, and what is none" },
};

static void test_screen(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(screens); i++) {
		cleanup_free char *got = screen_clean(screens[i].in);

		ok(got && !strcmp(got, screens[i].want), "%s", screens[i].why);
	}
}

int main(void)
{
	test_modes();
	test_mounts();
	test_files();
	test_words();
	test_docs();
	test_ignore();
	test_screen();
	return tap_done();
}
