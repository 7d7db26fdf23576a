#!/usr/bin/env bats
# What shells offer: the protocol, and the three shells themselves.
load ../lib/hoy

candidates() { tool hoy __complete "$@" | cut -f1; }
by_bash() {
	PATH=$HOY_BIN:$PATH bash --norc -c 'source <(hoy completion bash); COMP_LINE=$1 COMP_POINT=${#1}; _hoy; printf "%s\n" "${COMPREPLY[@]}"' bash "$1"
}

@test "completion: commands, groups, options, names, as podman's protocol has them" {
	[[ $(candidates imag) == $'image\nimages\n:4' ]]
	[[ $(candidates image p) == $'prune\npull\npush\n:4' ]]
	[[ $(candidates image tru) == $'trust\n:4' ]]
	[[ $(candidates image trust '') == $'show\nset\n:4' ]]
	[[ $(candidates run --net) == $'--network\n--network-alias\n:4' ]]
	[[ $(candidates pull --qui) == $'--quiet\n:4' ]]
	[[ $(candidates --runr) == $'--runroot\n:4' ]]
	[[ $(candidates load --input '') == ':0' ]]
	# what podman offers for its groups is among it
	for word in pull push tag; do
		diff <(oracle podman __complete image "$word" 2>/dev/null | cut -f1) <(candidates image "$word")
	done
	have_image busybox
	hoy create --name one localhost/busybox
	[[ $(candidates "${HOY_OPTS[@]}" rm '') == $'one\n:4' ]]
	[[ $(candidates "${HOY_OPTS[@]}" rmi localhost/b) == $'localhost/busybox:latest\n:4' ]]
	[[ $(candidates "${HOY_OPTS[@]}" run --rm localhost/busybox '') == ':0' ]]
}

@test "completion: bash, zsh, fish" {
	[[ $(by_bash 'hoy image pu') == $'pull\npush' ]]
	have_image busybox
	# the shell has cut the word at its colon
	[[ $(by_bash "hoy ${HOY_OPTS[*]} rmi localhost/busybox:l") == latest ]]
	export PATH=$HOY_BIN:$PATH
	[[ $(fish -c 'source (hoy completion fish | psub); complete -C "hoy image pu"' | cut -f1) == $'pull\npush' ]]
	hoy completion zsh -f "$T/_hoy"
	cat >z.zsh <<-'END'
	zmodload zsh/zpty
	zpty -b z zsh -fi
	zpty -w z "autoload -U compinit; compinit -u -D; source $T/_hoy; bindkey '^I' complete-word; echo READ''Y"
	repeat 100 { zpty -r -t z out && [[ $out == *READY* ]] && break; sleep 0.1 }
	zpty -n -w z $'hoy image pul\t'
	repeat 100 { zpty -r -t z out && all+=$out; [[ $all == *'hoy image pull'* ]] && break; sleep 0.1 }
	print -r -- "$all"
	zpty -d z
	END
	try zsh -f z.zsh
	[[ $output == *'hoy image pull'* ]] || show 'zsh completes nothing'
	try hoy completion powershell
	assert_error "there is no completion for 'powershell' (bash, zsh, fish)"
}
