// Package web is the inbox for people: pages made on the server, which work without JavaScript, and one module that keeps
// them up to date. Everything they show is embedded here; nothing comes from anywhere else.
//
//	GET  /                           choose an address, or roll one
//	GET  /open?address=              to the mailbox of an address
//	GET  /inbox/{address}            list; q searches, before is the next page
//	GET  /inbox/{address}/empty      asks before everything is deleted; POST does it
//	GET  /inbox/{address}/{id}       one mail; view=text, header or source; images=1 lets its pictures load
//	GET  /inbox/{address}/{id}/html  what the mail's frame shows
//	POST /inbox/{address}/{id}/delete
//	GET  /assets/…                   style, module, icons
//
// Mail is hostile. Its HTML goes through safehtml and is shown in a sandboxed frame with a policy of its own; everything
// else of it is text to html/template. All words are in english.json.
package web
