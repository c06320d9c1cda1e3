// Package web is the inbox for people: pages rendered on the server, which work without JavaScript, and one module that keeps
// them up to date. All their assets are embedded in the program; none come from another server.
//
//	GET  /                           choose an address, or a random one
//	GET  /open?address=              to the mailbox of an address
//	GET  /inbox/{address}            list; q searches, before is the next page
//	GET  /inbox/{address}/empty      asks before everything is deleted; POST deletes it
//	GET  /inbox/{address}/{id}       one mail; view=text, header or source; images=1 lets its pictures load
//	GET  /inbox/{address}/{id}/html  what the mail's frame shows
//	POST /inbox/{address}/{id}/delete
//	GET  /assets/…                   style, module, icons
//
// Mail is hostile. Its HTML is sanitised by safehtml and shown in a sandboxed frame with a policy of its own; html/template
// escapes everything else of it. All texts of the pages are in english.json.
package web
