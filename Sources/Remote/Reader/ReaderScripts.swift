/// What runs on the host as a resident reader, for each kind. Constants: nothing a person or a target supplied is part
/// of them. They write no file and end at the end of their stdin.
enum ReaderScripts {
  /// Started by /bin/sh with the boundary, the kinds that may be tried in order, and the three programs behind them.
  /// A kind whose interpreter is not there is passed over; sh is the rest.
  static let launcher = #"""
    b=$1; for k in $2; do case $k in
    perl) command -v perl >/dev/null 2>&1 && exec perl -e "$3";;
    esac; LC_ALL=C; export LC_ALL; case $k in
    awk) command -v awk >/dev/null 2>&1 || continue
      case $(awk -W version </dev/null 2>&1) in mawk*) exec awk -W interactive "$4" 2>/dev/null;; *) exec awk "$4" 2>/dev/null;; esac;;
    bash) command -v bash >/dev/null 2>&1 && exec bash --noprofile --norc -c "$5";;
    sh) exec /bin/sh -c "$6" sh "$b";;
    esac; done; exit 1
    """#

  /// Reads without a fork, passes any bytes, and runs commands beside. No module is loaded, which keeps it small.
  /// %c holds the commands under way, @z the ids of killed ones whose end is awaited without waiting for it.
  static let perl = #"""
    $0="syscrap reader"; binmode STDIN; binmode STDOUT; open STDERR,">","/dev/null";
    $H=$^O eq "solaris"?64:1; $SIG{CHLD}=sub{}; $SIG{PIPE}="IGNORE";
    sub w{my $p=0;while($p<length $_[0]){my $n=syswrite STDOUT,$_[0],length($_[0])-$p,$p;
    if(!defined $n){next if $!==4;bye()}$p+=$n}}
    sub bye{kill 9,-$_->{p} for values %c;exit}
    sub ask{my $k=$_[0];my $h=$k;my $o="";for(@{$s{$k}}){my($l,$p)=@$_;
    if(!-e $p){$h.=" -1"}elsif(!-f _){$h.=" -3"}elsif(!sysopen F,$p,0){$h.=-r $p?" -4":" -2"}else{
    my($n,$g)=(0,1);my $b=length $o;while($n<=$l){my $m=$l+1-$n;$m=16384 if $m>16384;
    $g=sysread F,$o,$m,$b+$n;last if !$g;$n+=$g}close F;
    if(defined $g){$h.=" $n"}else{substr($o,$b)="";$h.=" -4"}}}
    w("$h\n$o")}
    sub run{my($i,$t,$l,$m,$x)=@_;my($O,$o,$E,$e);
    if(!(pipe($o,$O)&&pipe($e,$E))){return w("!$i - - 0 0 4\n")}
    my $p=fork;if(!defined $p){return w("!$i - - 0 0 4\n")}
    if(!$p){setpgrp 0,0;open STDIN,"<","/dev/null";open STDOUT,">&",$O;open STDERR,">&",$E;
    $SIG{PIPE}="DEFAULT";$SIG{CHLD}="DEFAULT";exec "/bin/sh","-c",$x or exit 127}
    setpgrp $p,$p;close $O;close $E;
    $c{$i}={p=>$p,f=>[$o,$e],b=>["",""],l=>[$l,$m],t=>time+$t,x=>0}}
    sub end{my($i,$s,$f)=@_;my $c=delete $c{$i};if($f||!defined $s){kill 9,-$c->{p};push @z,$c->{p}}
    my $g="-";if(!defined $s){$s="-"}elsif($s&127){$g=$s&127;$s="-"}else{$s=$s>>8}
    w("!$i $s $g ".length($c->{b}[0])." ".length($c->{b}[1])." $f\n".$c->{b}[0].$c->{b}[1])}
    sub got{my($i,$j)=@_;my $c=$c{$i}or return;my $n=sysread $c->{f}[$j],my $d,65536;
    if(!defined $n){return if $!==4;$n=0}
    if(!$n){close $c->{f}[$j];$c->{f}[$j]=undef;return}
    $c->{b}[$j].=$d;if(length $c->{b}[$j]>$c->{l}[$j]){$c->{b}[$j]=substr $c->{b}[$j],0,$c->{l}[$j];end($i,undef,1)}}
    w("syscrap-reader 1 perl\n");
    while(1){my $r=1;if(%c||@z){my $v="";vec($v,0,1)=1;my $t=@z?1:60;
    for(values %c){my $q=$_;for(0,1){vec($v,fileno $q->{f}[$_],1)=1 if $q->{f}[$_]}
    my $u=$q->{t}-time;$u=0.02 if !$q->{f}[0]&&!$q->{f}[1]&&$u>0.02;$u=0 if $u<0;$t=$u if $u<$t}
    my $n=select($v,undef,undef,$t);$v="" if $n<=0;$r=vec($v,0,1);
    @z=grep{waitpid($_,$H)==0}@z;
    for my $i(keys %c){my $q=$c{$i};for(0,1){my $f=$q->{f}[$_];got($i,$_) if $c{$i}&&$f&&vec($v,fileno $f,1)}
    $q=$c{$i}or next;if(!$q->{f}[0]&&!$q->{f}[1]){my $a=waitpid $q->{p},$H;
    if($a==$q->{p}){end($i,$?,0);next}if($a<0){end($i,0,0);next}}
    end($i,undef,2) if time>=$q->{t}}}
    next if !$r;my $n=sysread STDIN,$in,65536,length $in;if(!defined $n){next if $!==4;bye()}bye() if !$n;
    while((my $e=index $in,"\n")>=0){my $x=substr $in,0,$e;substr($in,0,$e+1)="";
    if($x=~/^\+(\d+) (\d+) (.*)/s){push @{$s{$1}},[$2,$3]}elsif($x=~/^-(\d+)/){delete $s{$1}}
    elsif($x=~/^!(\d+) (\d+) (\d+) (\d+) (.*)/s){run($1,$2,$3,$4,$5)}
    elsif($x=~/^~(\d+)/){end($1,undef,2) if $c{$1}}else{ask($x)}}}
    """#

  /// Reads text below /proc and /sys without a fork, line by line: a last line without an end gets one.
  static let awk = #"""
    BEGIN{ORS="";print "syscrap-reader 1 awk\n";fflush()}
    /^\+/{s=substr($0,2);i=index(s," ");k=substr(s,1,i-1);s=substr(s,i+1);i=index(s," ");
    n=++N[k];L[k,n]=substr(s,1,i-1)+0;P[k,n]=substr(s,i+1);next}
    /^-/{N[substr($0,2)]=0;next}
    {k=$0;h=k;o="";for(i=1;i<=N[k];i++){p=P[k,i];d="";
    while((r=(getline x<p))>0)d=d x "\n";close(p);
    if(r<0){h=h " -7"}else{if(length(d)>L[k,i])d=substr(d,1,L[k,i]+1);h=h " " length(d);o=o d}}
    print h "\n";print o;fflush()}
    """#

  /// As awk; needs bash 4.4.
  static let bash = #"""
    ((BASH_VERSINFO[0]*100+BASH_VERSINFO[1]>=404))||exit 1;exec 2>/dev/null;printf 'syscrap-reader 1 bash\n'
    while IFS= read -r l;do case $l in
    +*)l=${l#+};k=${l%% *};l=${l#* };n=${N[k]:-0};L[k*64+n]=${l%% *};P[k*64+n]=${l#* };N[k]=$((n+1));;
    -*)N[${l#-}]=0;;
    *)k=$l;h=$k;o=;n=${N[k]:-0};for((i=k*64;i<k*64+n;i++));do p=${P[i]};
    if [ ! -e "$p" ];then h+=' -1';elif [ ! -f "$p" ];then h+=' -3';elif [ ! -r "$p" ];then h+=' -2'
    elif mapfile -d '' m <"$p";then d=${m[0]};((${#d}>L[i]))&&d=${d:0:L[i]+1};h+=" ${#d}";o+=$d
    else h+=' -4';fi;done;printf '%s\n%s' "$h" "$o";;
    esac;done
    """#

  /// For all other hosts: one cat for up to five files, with the boundary between them from here-documents. bash, ksh and
  /// zsh keep those in a file and are given a cat for each. $1 is the boundary.
  static let sh = #"""
    b=$1;set -f;exec 2>/dev/null;n='
    ';echo 'syscrap-reader 1 sh'
    f(){ printf '\n%s %s\n' "$b" "$1";}
    g(){ case $# in 0)return;;1)cat "$1" /dev/fd/3;;2)cat "$1" /dev/fd/3 "$2" /dev/fd/4;;
    3)cat "$1" /dev/fd/3 "$2" /dev/fd/4 "$3" /dev/fd/5;;
    4)cat "$1" /dev/fd/3 "$2" /dev/fd/4 "$3" /dev/fd/5 "$4" /dev/fd/6;;
    5)cat "$1" /dev/fd/3 "$2" /dev/fd/4 "$3" /dev/fd/5 "$4" /dev/fd/6 "$5" /dev/fd/7;;
    esac 3<<A 4<<A 5<<A 6<<A 7<<A

    $b 0
    A

    $b 0
    A

    $b 0
    A

    $b 0
    A

    $b 0
    A
    }
    while IFS= read -r l;do case $l in
    +*)l=${l#+};k=${l%% *};eval "S$k=\$S$k\$l\$n";;
    -*)eval "S${l#-}=";;
    *)eval "t=\$S$l";set --;while [ -n "$t" ];do l=${t%%"$n"*};t=${t#*"$n"};p=${l#* };p=${p#* }
    if [ ! -e "$p" ];then s=1;elif [ ! -f "$p" ];then s=3;elif [ ! -r "$p" ];then s=2
    elif [ -n "$BASH_VERSION$KSH_VERSION$ZSH_VERSION" ]||[ ! -e /dev/fd/0 ];then g "$@";set --;cat "$p";s=0;else s=;set -- "$@" "$p";fi
    if [ -n "$s" ];then if [ $# -gt 0 ];then g "$@";set --;fi;f $s;elif [ $# -ge 5 ];then g "$@";set --;fi;done;g "$@";;
    esac;done
    """#
}
