/// The dashboard's files. They are our own and stand in the program, so that nothing has to be installed or fetched.
enum Page {
  struct Asset: Sendable {
    var path: String
    var type: String
    var content: String
  }

  static let assets: [Asset] = [
    Asset(path: "/", type: "text/html; charset=utf-8", content: PageHTML.content),
    Asset(path: "/assets/page.css", type: "text/css; charset=utf-8", content: PageStyle.content),
    Asset(path: "/assets/page.js", type: "text/javascript; charset=utf-8", content: PageScript.content),
  ]
}
