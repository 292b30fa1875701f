# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_palisade_global_optspecs
    string join \n h/help V/version
end

function __fish_palisade_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_palisade_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_palisade_using_subcommand
    set -l cmd (__fish_palisade_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c palisade -n "__fish_palisade_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_needs_command" -s V -l version -d 'Print version'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "up" -d 'Start a whole secured cluster on this machine, or start it again'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "daemon" -d 'Run a node by a configuration file'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "shell" -d 'Talk SQL to a cluster'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "status" -d 'Show how the node is: PostgreSQL, drift, certificate, sessions'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "user" -d 'Add, show and change users'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "acl" -d 'Give, take and show rights on single objects'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "can" -d 'Answer whether a user may do something, and name the rule that decided'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "hba" -d 'Show, check and set who may connect from where, in the language of `pg_hba.conf`'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "explain" -d 'Say how a decision would come out, and why'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "ledger" -d 'Show, verify and export the ledger'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "keygen" -d 'Make a cluster\'s key pair'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "reload" -d 'Have the daemon read its files again: users.cfg, keys, certificates'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "node" -d 'Command a node'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "purge-all" -d 'Drop every managed object of the database, with all that is in it. Asked twice'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "completions" -d 'Write the completions of a shell to standard output'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "man" -d 'Write the man pages, one a command'
complete -c palisade -n "__fish_palisade_needs_command" -f -a "generate" -d 'Write all files that are made from the command line\'s definition, below the repository DIR'
complete -c palisade -n "__fish_palisade_using_subcommand up" -l dir -d 'Where the cluster lives [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand up" -l listen -d 'Where clients connect' -r
complete -c palisade -n "__fish_palisade_using_subcommand up" -l superuser -d 'The superuser that a new cluster begins with' -r
complete -c palisade -n "__fish_palisade_using_subcommand up" -l database -d 'The database that a new cluster manages' -r
complete -c palisade -n "__fish_palisade_using_subcommand up" -l name -d 'What a new cluster is called' -r
complete -c palisade -n "__fish_palisade_using_subcommand up" -s v -l verbose -d 'Write the whole log to standard error, not what needs attention alone'
complete -c palisade -n "__fish_palisade_using_subcommand up" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand daemon" -s c -l config -d 'The configuration file; without one the defaults and the environment count' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand daemon" -l name -d 'What a new cluster is called' -r
complete -c palisade -n "__fish_palisade_using_subcommand daemon" -l gen-config -d 'Print a commented default configuration and end'
complete -c palisade -n "__fish_palisade_using_subcommand daemon" -l check -d 'Check the configuration and end'
complete -c palisade -n "__fish_palisade_using_subcommand daemon" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand shell" -l cluster-public-key-file -d 'The cluster\'s public key; the server must prove that it belongs to it' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand shell" -l user-credentials-file -d 'Your name and secret key, as `palisade user add -s` wrote them' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand shell" -l cluster -d 'The gateway to talk to' -r
complete -c palisade -n "__fish_palisade_using_subcommand shell" -s d -l database -d 'The database' -r
complete -c palisade -n "__fish_palisade_using_subcommand shell" -s c -l command -d 'Run this and exit: SQL statements, or a backslash command (may be repeated)' -r
complete -c palisade -n "__fish_palisade_using_subcommand shell" -s f -l file -d 'Run the statements of a file and exit; `-` is standard input' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand shell" -l format -d 'How rows are written' -r -f -a "table\t'Aligned columns, with the number of rows'
csv\t'RFC 4180 with a header; NULL is empty, an empty string is ""'
json\t'For each result one array with an object for each row'"
complete -c palisade -n "__fish_palisade_using_subcommand shell" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand status" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand status" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand status" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand status" -l json -d 'As JSON'
complete -c palisade -n "__fish_palisade_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "add" -d 'Add a user and write the new secret key'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "list" -d 'Show all users'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "show" -d 'Show one user and the access control lists that name him'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "set" -d 'Change what a user may do by default'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "disable" -d 'Shut a user out: open sessions end, and no login passes'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "enable" -d 'Let a user in again who was disabled'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "remove" -d 'Remove a user for good, with every access control list that names him'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "passwd" -d 'Change a password: your own, or with the cluster key anybody\'s'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "key" -d 'Replace your own key by a new one; the old one is worth nothing from then on'
complete -c palisade -n "__fish_palisade_using_subcommand user; and not __fish_seen_subcommand_from add list show set disable enable remove passwd key cert" -f -a "cert" -d 'Write a certificate and its key with which psql logs in as you'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -s u -l user -d 'The user\'s name' -r
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l uid -d 'The user\'s number, from 1 on [default: the next free one]' -r
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l privileges -d 'What the user may do where no access control list names him [default: select; none for a superuser]' -r -f -a "denied\t''
select\t''
insert\t''
update\t''
delete\t''
index\t''
alter\t''
create\t''
drop\t''
grant\t''
user_manage\t''
system\t''
set_acl\t''
get_acl\t''
set_transaction\t''"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l superuser -d 'Every privilege on every object' -r -f -a "on\t'Yes'
off\t'No'"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l disabled -d 'Not allowed to log in, for now' -r -f -a "on\t'Yes'
off\t'No'"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l password-file -d 'Give the user the password on the first line of this file; `-` is standard input' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -s p -l public -d 'The user list to add to, made if it is not there; `-` writes one to standard output' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -s s -l secret -d 'Where the user\'s credentials (name and secret key) go, with mode 0600; `-` is standard output' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -l password -d 'Give the user a password, too: it is asked for'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from list" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from list" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from list" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from list" -l json -d 'As JSON'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from show" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from show" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from show" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from show" -l json -d 'As JSON'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -l privileges -d 'The new default privileges, in place of the old' -r -f -a "denied\t''
select\t''
insert\t''
update\t''
delete\t''
index\t''
alter\t''
create\t''
drop\t''
grant\t''
user_manage\t''
system\t''
set_acl\t''
get_acl\t''
set_transaction\t''"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -l superuser -d 'Every privilege on every object, or no more' -r -f -a "on\t'Yes'
off\t'No'"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from disable" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from disable" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from disable" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from disable" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from disable" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from enable" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from enable" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from enable" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from enable" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from enable" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from remove" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from remove" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from remove" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from remove" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from remove" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from remove" -l yes -d 'Don\'t ask'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -l password-file -d 'Take the first line of this file instead of asking; `-` is standard input' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -l none -d 'No password from now on'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from passwd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -s s -l secret -d 'Where the new credentials go, with mode 0600; `-` is standard output' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -l force -d 'Replace a file that is there'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from key" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l credentials -l as -d 'Your credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l out -d 'The directory for the two files' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l days -d 'Days that the certificate is good for' -r
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l host -d 'The gateway\'s name or address, for the psql line [default: the daemon is asked, else 127.0.0.1]' -r
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l port -d 'The gateway\'s port, for the psql line [default: the daemon is asked, else 5433]' -r
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l database -d 'The database, for the psql line [default: the daemon is asked, else main]' -r
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -l force -d 'Replace files that are there'
complete -c palisade -n "__fish_palisade_using_subcommand user; and __fish_seen_subcommand_from cert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and not __fish_seen_subcommand_from set unset get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and not __fish_seen_subcommand_from set unset get" -f -a "set" -d 'Say what a user may do to an object, in place of his default privileges'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and not __fish_seen_subcommand_from set unset get" -f -a "unset" -d 'Let a user\'s default privileges hold for an object again'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and not __fish_seen_subcommand_from set unset get" -f -a "get" -d 'Show access control lists'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from set" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from set" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from set" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from set" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from set" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from unset" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from unset" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from unset" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from unset" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from unset" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from unset" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from get" -l user -d 'Those that name this user' -r
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from get" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from get" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from get" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from get" -l json -d 'As JSON'
complete -c palisade -n "__fish_palisade_using_subcommand acl; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand can" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand can" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand can" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand can" -l json -d 'As JSON'
complete -c palisade -n "__fish_palisade_using_subcommand can" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and not __fish_seen_subcommand_from show set check" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and not __fish_seen_subcommand_from show set check" -f -a "show" -d 'Show the rules that are in force'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and not __fish_seen_subcommand_from show set check" -f -a "set" -d 'Put these rules in the place of the old, on every node, open sessions included'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and not __fish_seen_subcommand_from show set check" -f -a "check" -d 'Check rules without a daemon: faults, and what is probably not meant'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from show" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from show" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from show" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from show" -l json -d 'As JSON: each rule with its line'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from set" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from set" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from set" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from set" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from set" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand hba; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand explain; and not __fish_seen_subcommand_from login" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand explain; and not __fish_seen_subcommand_from login" -f -a "login" -d 'Name the rule that a login would meet, its method, and what the client would have to show'
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l user -d 'Who' -r
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l database -d 'To which database [default: the one that the cluster manages]' -r
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l address -d 'From where' -r
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l tls -d 'Inside of TLS'
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l plaintext-allowed -d 'As if `security.encrypt_traffic` were false in the node\'s configuration'
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -l json -d 'As JSON'
complete -c palisade -n "__fish_palisade_using_subcommand explain; and __fish_seen_subcommand_from login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and not __fish_seen_subcommand_from log verify export import" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and not __fish_seen_subcommand_from log verify export import" -f -a "log" -d 'Show every change: when, by whom, and what. Each was verified before it is shown'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and not __fish_seen_subcommand_from log verify export import" -f -a "verify" -d 'Verify every entry: form, chain, signature, and the author\'s right to make it'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and not __fish_seen_subcommand_from log verify export import" -f -a "export" -d 'Write all signed entries to a file that `palisade ledger verify` takes'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and not __fish_seen_subcommand_from log verify export import" -f -a "import" -d 'Add an exported ledger\'s entries to this node\'s store, while the daemon is stopped'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from log" -l from -d 'Begin with this entry' -r
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from log" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from log" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from log" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from log" -l json -d 'As JSON, one entry a line'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l json -d 'As JSON'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from export" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from export" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from export" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from export" -l force -d 'Replace a file that is there'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from import" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from import" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from import" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand ledger; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand keygen" -s p -l public -d 'Where the public key goes; `-` is standard output' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand keygen" -s s -l secret -d 'Where the private key goes, with mode 0600; `-` is standard output' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand keygen" -l force -d 'Replace files that are there'
complete -c palisade -n "__fish_palisade_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand reload" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand reload" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand reload" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand node; and not __fish_seen_subcommand_from stop" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand node; and not __fish_seen_subcommand_from stop" -f -a "stop" -d 'Stop the daemon and its PostgreSQL. Asked twice'
complete -c palisade -n "__fish_palisade_using_subcommand node; and __fish_seen_subcommand_from stop" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand node; and __fish_seen_subcommand_from stop" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand node; and __fish_seen_subcommand_from stop" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand node; and __fish_seen_subcommand_from stop" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand node; and __fish_seen_subcommand_from stop" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand node; and __fish_seen_subcommand_from stop" -l yes -d 'Don\'t ask; say it twice'
complete -c palisade -n "__fish_palisade_using_subcommand node; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand purge-all" -l as -d 'Sign as the user of this credentials file' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand purge-all" -l as-cluster-key -d 'Sign with the cluster\'s private key, which may do anything' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand purge-all" -l dir -d 'The node\'s data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]' -r -f -a "(__fish_complete_directories)"
complete -c palisade -n "__fish_palisade_using_subcommand purge-all" -l socket -d 'The daemon\'s control socket [default: DIR/control.sock]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand purge-all" -l cluster-public-key-file -d 'The cluster\'s public key, which every entry is checked against [default: `DIR/cluster_public.key`]' -r -F
complete -c palisade -n "__fish_palisade_using_subcommand purge-all" -l yes -d 'Don\'t ask; say it twice'
complete -c palisade -n "__fish_palisade_using_subcommand purge-all" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c palisade -n "__fish_palisade_using_subcommand completions" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand man" -s h -l help -d 'Print help'
complete -c palisade -n "__fish_palisade_using_subcommand generate" -s h -l help -d 'Print help'
