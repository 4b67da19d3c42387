/// What a shell runs to complete a command line of this program. Each script hands over the line and shows the answer of
/// `Completions`; it decides nothing itself, so all shells propose the same.
import Posix
import SheafCore

enum CompletionScripts {
  private static let option = "--generate-completion-script"

  /// The script that these arguments ask for; nil: they ask for something else. Without a name it is that of `SHELL`.
  static func wanted(by arguments: [String]) throws(Failure) -> String? {
    guard let first = arguments.first, first.prefix(while: { $0 != "=" }) == option else { return nil }
    let own = Host.environment("SHELL").map { $0.splitAtName.name.shown } ?? ""
    let name =
      first.count > option.count ? String(first.dropFirst(option.count + 1)) : arguments.dropFirst().first ?? own
    switch ShellWord.Shell(rawValue: name) {
    case .bash: return bash
    case .zsh: return zsh
    case .fish: return fish
    case nil:
      throw Failure(
        .usage, "no completion for the shell '\(Show.path(Arguments.unescape(name)))'",
        hint: "there are \(ShellWord.Shell.allCases.map(\.rawValue).joined(separator: ", "))")
    }
  }

  /// Where bash only lists what there is (`COMP_TYPE` is 63), it shows what each is. That is not done while it still may put
  /// a common beginning into the line.
  private static let bash = #"""
    # Completion of sheaf for bash, from: sheaf --generate-completion-script bash
    _sheaf() {
        local program=${1/#\~\//$HOME/} line value about
        local -a answer
        COMPREPLY=()
        type -t "$program" >/dev/null || program=sheaf
        mapfile -t answer < <("$program" ---complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
        for line in "${answer[@]:2}"; do
            about=${line##*$'\t'}
            line=${line%$'\t'*}
            value=${line%%$'\t'*}
            if [[ $COMP_TYPE == 63 ]]; then
                value=${line#*$'\t'}
                [[ $value == */*/ ]] && value=${value%/} value=${value##*/}/
                [[ $value == */?* ]] && value=${value##*/}
                [[ -n $about ]] && value="$value  ($about)"
            fi
            COMPREPLY+=("$value")
        done
        case ${answer[0]} in
            files) compopt -o filenames -o default 2>/dev/null ;;
            directories) compopt -o filenames -o plusdirs 2>/dev/null ;;
        esac
        if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]]; then compopt -o nospace 2>/dev/null; fi
    }
    complete -o nosort -F _sheaf sheaf 2>/dev/null || complete -F _sheaf sheaf

    """#

  private static let zsh = #"""
    #compdef sheaf
    # Completion of sheaf for zsh, from: sheaf --generate-completion-script zsh
    _sheaf() {
        local program=${(Q)words[1]} line value about
        local -a answer plain shown folders names other list
        local -i width=0 result=1
        program=${program/#\~\//$HOME/}
        whence -- $program >/dev/null || program=sheaf
        answer=("${(@f)$("$program" ---complete zsh "${(j: :)words[1,CURRENT-1]} $QIPREFIX$IPREFIX$PREFIX" 2>/dev/null)}")
        for line in "${(@)answer[3,-1]}"; do
            value=${line%%$'\t'*}
            (( ${#value} > width )) && width=${#value}
        done
        for line in "${(@)answer[3,-1]}"; do
            value=${line%%$'\t'*}
            about=${line#*$'\t'}
            if [[ $value == */ ]]; then
                folders+=("$value")
                names+=("${${value%/}##*/}/")
            elif [[ $value != "${(Q)PREFIX}"* ]]; then
                other+=("$value")
            else
                plain+=("$value")
                if [[ -n $about ]]; then
                    list=(-l)
                    shown+=("${(r:width:)value} -- $about")
                else
                    shown+=("${value##*/}")
                fi
            fi
        done
        # It quotes what it puts in, and keeps this order.
        (( $#folders )) && compadd -V folders -S '' -d names -a folders && result=0
        (( $#plain )) && compadd -V plain $list -d shown -a plain && result=0
        # The path of a store whose label was typed.
        (( $#other )) && compadd -U -V other -a other && result=0
        case $answer[1] in
            files) compset -p $#answer[2]; _files && result=0 ;;
            directories) compset -p $#answer[2]; _files -/ && result=0 ;;
        esac
        return result
    }
    if [[ $funcstack[1] == _sheaf ]]; then _sheaf "$@"; else compdef _sheaf sheaf; fi

    """#

  private static let fish = #"""
    # Completion of sheaf for fish, from: sheaf --generate-completion-script fish
    function __sheaf_complete
        set -l program (commandline -opc)[1]
        set program (string replace -r '^~/' "$HOME/" -- $program)
        command -q -- $program; or set program sheaf
        set -l answer ($program ---complete fish (commandline -cp | string collect) 2>/dev/null)
        test (count $answer) -ge 2; or return
        if test (count $answer) -gt 2
            printf '%s\n' $answer[3..-1]
        end
        set -l token (commandline -ct | string sub -s (math (string length -- $answer[2]) + 1))
        switch $answer[1]
            case files
                for path in (__fish_complete_path "$token")
                    echo -- $answer[2]$path
                end
            case directories
                for path in (__fish_complete_directories "$token" '')
                    echo -- $answer[2]$path
                end
        end
    end
    complete -c sheaf -f -k -a '(__sheaf_complete)'

    """#
}
